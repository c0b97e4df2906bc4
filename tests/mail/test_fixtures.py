"""The sample mail of other parsers is read as its authors meant it: CPython's email package, mail-parser, tnefparse.

`.ci/fixtures` fetches it; fixtures.json says what is in each message, and was compared with what CPython's parser makes of it: the two
differ in forwarded messages (which we name by their subject), addresses without a domain, a display name that is an address, and where that
one fails. Left out are an Outlook .msg, which is no mail, and a letter whose subject nobody wants in a repository.
"""

import base64
import json
from pathlib import Path
from typing import Any, Final

import pytest

from daemon.mail import parse
from tests.conftest import require_server
from tests.mail.test_parse_traps import ensure_storable

FIXTURES: Final = Path(__file__).parents[2] / ".cache" / "fixtures"
EXPECTED: Final[dict[str, dict[str, Any]]] = json.loads(Path(__file__).with_name("fixtures.json").read_text("utf-8"))


def message(name: str) -> bytes:
    require_server("the sample mail of other parsers (.ci/fixtures)", present=FIXTURES.is_dir())
    octets = (FIXTURES / name).read_bytes()
    if not name.endswith(".tnef"):
        return octets
    head = b"Content-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n"
    return head + base64.encodebytes(octets)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_message_is_read_as_it_was_meant(name: str) -> None:
    found = parse.parse(message(name))
    ensure_storable(found)
    assert EXPECTED[name] == {
        "subject": found.subject,
        "from_address": found.from_address,
        "date": found.sent_at and found.sent_at.isoformat(),
        "to": [row.address for row in found.addresses if row.role == "to"],
        "attachments": [row.filename for row in found.attachments],
        "defects": list(found.defects),
    }


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("tnefparse/two-files.tnef", [244, 893]),
        (
            "tnefparse/MAPI_ATTACH_DATA_OBJ.tnef",
            [61_952, 213_685, 68_919],
        ),  # the first is an OLE document, of whole sectors
        ("mail-parser/mail_test_15", [251_141]),  # x-uuencode
    ],
)
def test_what_is_unpacked_is_whole(name: str, sizes: list[int]) -> None:
    rows = parse.parse(message(name)).attachments
    assert sizes == [row.octets for row in rows if row.filename != "winmail.dat"]
