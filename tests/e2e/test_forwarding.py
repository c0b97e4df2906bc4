"""From a real Dovecot through the house and a real Postfix: the author's signature and ours both hold where it arrives."""

import subprocess
from pathlib import Path

import dkim
import pytest

from daemon.jobs import letter
from daemon.mail.account import Dkim
from daemon.mail.sign import Signer
from tests.e2e.real_house import PREFIX, House
from tests.servers.dovecot import Dovecot
from tests.servers.postfix import Postfix

pytestmark = pytest.mark.servers


def signer(file: Path, domain: str) -> Signer:
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-out", file], check=True, capture_output=True)
    return letter.signer(Dkim(key_file=file, selector="mail", domain=domain))


def test_signatures_survive_being_sent_on(
    house: House, dovecot: Dovecot, postfix: Postfix, user: str, tmp_path: Path
) -> None:
    author, own = signer(tmp_path / "author.pem", "example.net"), signer(tmp_path / "own.pem", "example.org")
    records = {f"{name}.": record.encode() for name, record in (author.record, own.record)}
    body = b"8-bit: \xe4\xff  \r\n.\r\n..\r\n\r\n" + b"x" * 900 + b"\r\n\r\n\r\n"
    source = author.sign(
        b"From: bob@example.net\r\nTo: anna@example.org\r\nSubject:  folded\r\n\t= or not\r\n\r\n" + body
    )
    house.with_pop3(user, dovecot.pop3s_port, "tls")
    house.with_smtp(postfix.plain_port, "plaintext", dkim_key_file=str(tmp_path / "own.pem"), dkim_selector="mail")
    target = f"sent-on-{house.database.kind}@example.net"
    house._environment[f"{PREFIX}FORWARD"] = target
    house.fetch()
    dovecot.fill(user, [source])
    assert 1 == house.fetch().new
    (result,) = house.send()
    assert (1, None) == (result.sent, result.error)
    (arrived,) = postfix.delivered(1, to=target)
    assert ("anna@example.org", True) == (arrived.sender, arrived.octets.endswith(source))
    for index, domain in enumerate([b"example.org", b"example.net"]):
        signature = dkim.DKIM(arrived.octets)
        assert signature.verify(index, dnsfunc=lambda name, **_wait: records[name.decode()])
        assert domain == signature.domain
