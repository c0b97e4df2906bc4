"""The fuzzers' targets over what hypothesis makes, and over every seed; `make fuzz` goes on for longer, guided by coverage."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

WORDS = [
    b"+OK", b"-ERR", b" ", b"\r\n", b"\n", b"\r", b".", b"..", b"\r\n.\r\n", b"\n.\n", b"1 ", b"2 10", b"0 1", b"99999999999999999999", b"+ ", b"+ eHg=",
    b"[IN-USE]", b"[SYS/TEMP]", b"SASL PLAIN", b"LOGIN-DELAY ", b"\0", b"\xff", b"Content-Type: multipart/mixed; boundary=x\r\n", b"--x\r\n", b"--x--",
    b"From: ", b"<a@b>", b"=?utf-8?q?=C3?=", b"Content-Transfer-Encoding: base64\r\n", b"(", b'"', b",", b":", b";", b"Content-Type: text/html\r\n", b"<p>",
    b"begin 644 x\r\n", b"=ybegin name=x\r\n", b"> ", b"-- \r\n", b"Date: ", b"23 Nov 2026 ", b"Content-Type: text/calendar\r\n", b"BEGIN:VEVENT\r\n", b"filename*0*=",
    b'<a href="http://a">', b'<p style="display:none">', b'<b class="gmail_quote">', b"&#1;", b"&#27;", b"Content-Type: application/ms-tnef\r\n", b'x\x9f>"',
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(
        st.binary(max_size=300), st.lists(st.sampled_from(WORDS) | st.binary(max_size=5), max_size=60).map(b"".join)
    )
)
def test_a_target_holds_for_anything(target: str, data: bytes) -> None:
    TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_holds_for_its_seeds(target: str) -> None:
    for octets in seeds(target):
        TARGETS[target](octets)
