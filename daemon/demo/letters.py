"""Sample mail for the demo: a dozen letters of the kinds that a maildrop really holds, two of them broken.

Always the same octets, CRLF line ends. All names are invented, all domains reserved (RFC 2606).
"""

import base64
import quopri
from typing import Final

SEARCH: Final = "Fahrradkeller"  # finds a letter whose word stands in quoted-printable HTML only

_PIXEL: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_INVOICE: Final = (
    b"%PDF-1.4\n1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj\n2 0 obj <</Type/Pages/Kids[]/Count 0>> endobj\n%%EOF\n"
)
_MINUTES: Final = (
    "Anwesend: Anna, Bob, Carol\nThema: der Fahrradkeller\nBeschluss: Der Schlüssel hängt künftig beim Hausmeister.\n"
)
_STATEMENT: Final = "Datum;Betrag\n2026-11-02;12,50 €\n2026-11-09;7,00 €\n"


def sample() -> list[bytes]:
    """Return the letters, oldest first."""
    return [
        *_thread(),
        _plain(),
        _html_only(),
        _newsletter(),
        _invoice(),
        _chinese(),
        _forwarded(),
        _statement(),
        _eight_bit_header(),
        _bounce(),
        _wrong_charset(),
        _cut_off(),
    ]


def _letter(head: str, body: bytes | str) -> bytes:
    """Join a header and a body, text as UTF-8, every line end as CRLF."""
    octets = body if isinstance(body, bytes) else body.encode()
    whole = head.strip().encode() + b"\n\n" + octets.strip(b"\n") + b"\n"
    return whole.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _qp(text: str) -> str:
    return quopri.encodestring(text.encode()).decode("ascii")


def _b64(octets: bytes) -> str:
    return base64.encodebytes(octets).decode("ascii")


def _thread() -> list[bytes]:
    """Three letters that answer one another."""
    asked = """\
From: Bob Builder <bob@example.net>
To: Anna Archivist <anna@example.org>
Cc: Carol <carol@example.net>
Subject: Lunch on Friday?
Date: Mon, 09 Nov 2026 09:12:44 +0100
Message-ID: <lunch-1@example.net>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii
"""
    answered = """\
From: Anna Archivist <anna@example.org>
To: Bob Builder <bob@example.net>
Cc: Carol <carol@example.net>
Subject: Re: Lunch on Friday?
Date: Mon, 09 Nov 2026 10:03:00 +0100
Message-ID: <lunch-2@example.org>
In-Reply-To: <lunch-1@example.net>
References: <lunch-1@example.net>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit
"""
    settled = """\
From: "Carol C. Cartographer" <carol@example.net>
To: Anna Archivist <anna@example.org>, Bob Builder <bob@example.net>
Subject: Re: Lunch on Friday?
Date: Mon, 09 Nov 2026 10:30:12 +0000
Message-ID: <lunch-3@example.net>
In-Reply-To: <lunch-2@example.org>
References: <lunch-1@example.net> <lunch-2@example.org>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii
"""
    return [
        _letter(asked, "Anna,\n\nthe noodle place at twelve? Carol comes too.\n\nBob\n"),
        _letter(
            answered,
            "Gerne, aber erst um halb eins: ich räume vormittags noch das Archiv auf.\n\n> the noodle place at twelve?\n",
        ),
        _letter(
            settled,
            "Half past twelve it is. A line that begins with a dot, for the protocol's sake:\n.\n..and this one with two.\n",
        ),
    ]


def _plain() -> bytes:
    head = """\
From: =?utf-8?q?J=C3=B6rg_M=C3=BCller?= <joerg@example.com>
To: anna@example.org
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe_aus_K=C3=B6ln?=
Date: Tue, 10 Nov 2026 18:45:10 +0100
Message-ID: <koeln@example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: 8bit
"""
    return _letter(head, "Schöne Grüße aus Köln! Das Wetter ist mäßig, das Essen köstlich.\n\nJörg\n".encode("latin-1"))


def _html_only() -> bytes:
    head = """\
From: Hausverwaltung <verwaltung@example.com>
To: anna@example.org
Subject: =?UTF-8?B?U2NobMO8c3NlbCBnZXN1Y2h0?=
Date: Wed, 11 Nov 2026 07:00:00 +0100
Message-ID: <haus-77@example.com>
MIME-Version: 1.0
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable
"""
    page = (
        "<html><head><title>Aushang</title><style>p { color: #333 }</style></head><body><h1>Aushang</h1>"
        "<p>Bitte die Schl&uuml;ssel f&uuml;r den <b>Fahrrad</b>keller zurückgeben.</p>"
        "<ul><li>Keller A</li><li>Keller B</li></ul><script>track()</script></body></html>\n"
    )
    return _letter(head, _qp(page))


def _newsletter() -> bytes:
    """multipart/alternative with a picture within its HTML."""
    head = """\
From: "The Kettle Club" <news@club.example.net>
Reply-To: editors@club.example.net
To: undisclosed-recipients:;
Subject: Kettles of the month
Date: Thu, 12 Nov 2026 06:30:00 -0500
Message-ID: <2026-11@club.example.net>
List-Unsubscribe: <mailto:leave@club.example.net>
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="club-alternative"
"""
    body = f"""\
--club-alternative
Content-Type: text/plain; charset=utf-8

The kettle on the third floor is on strike again.
--club-alternative
Content-Type: multipart/related; boundary="club-related"

--club-related
Content-Type: text/html; charset=utf-8

<p>The kettle on the third floor is <i>on strike</i> again.</p><img src="cid:kettle@club">
--club-related
Content-Type: image/png; name="kettle.png"
Content-ID: <kettle@club>
Content-Disposition: inline; filename="kettle.png"
Content-Transfer-Encoding: base64

{_b64(_PIXEL)}
--club-related--
--club-alternative--
"""
    return _letter(head, body)


def _invoice() -> bytes:
    head = """\
From: Buchhaltung <rechnung@example.com>
To: Anna Archivist <anna@example.org>
Subject: =?utf-8?q?Rechnung_2026-0815_f=C3=BCr_Papier?=
Date: Fri, 13 Nov 2026 13:13:13 +0100
Message-ID: <rechnung-0815@example.com>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=_rechnung"
"""
    body = f"""\
This is a message in MIME format.
--=_rechnung
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

{_qp("Anbei die Rechnung über 119,00 €. Zahlbar binnen 14 Tagen.")}
--=_rechnung
Content-Type: application/pdf
Content-Disposition: attachment; filename*=utf-8''Rechnung%202026%E2%80%930815.pdf
Content-Transfer-Encoding: base64

{_b64(_INVOICE)}
--=_rechnung
Content-Type: text/plain; charset=utf-8; name="=?utf-8?q?Protokoll_M=C3=A4rz=2Etxt?="
Content-Disposition: attachment; filename="=?utf-8?q?Protokoll_M=C3=A4rz=2Etxt?="
Content-Transfer-Encoding: base64

{_b64(_MINUTES.encode())}
--=_rechnung--
"""
    return _letter(head, body)


def _chinese() -> bytes:
    subject = base64.b64encode("冬天的猫".encode("gb18030")).decode()
    head = f"""\
From: =?gb2312?B?{base64.b64encode("王小明".encode("gb18030")).decode()}?= <xiaoming@example.cn>
To: anna@example.org
Subject: =?gb2312?B?{subject}?=
Date: Sat, 14 Nov 2026 20:00:00 +0800
Message-ID: <cat@example.cn>
MIME-Version: 1.0
Content-Type: text/plain; charset=gb2312
Content-Transfer-Encoding: base64
"""
    return _letter(head, _b64("冬天的猫在窗台上晒太阳。\n".encode("gb18030")))


def _forwarded() -> bytes:
    head = """\
From: Carol <carol@example.net>
To: anna@example.org, =?utf-8?q?Zo=C3=AB?= <zoe@example.org>
Subject: Fwd: The blue stapler
Date: Sun, 15 Nov 2026 11:11:00 +0000
Message-ID: <fwd-1@example.net>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer
"""
    body = """\
--outer
Content-Type: text/plain; charset=us-ascii

Do you know anything about this?
--outer
Content-Type: message/rfc822

From: dave@example.com
To: carol@example.net
Subject: The blue stapler
Date: Sat, 14 Nov 2026 17:00:00 +0000
Message-ID: <stapler@example.com>

Nobody has seen the blue stapler since Tuesday.
--outer--
"""
    return _letter(head, body)


def _statement() -> bytes:
    head = """\
From: "Sparbüro, Zweigstelle" <konto@bank.example.com>
To: anna@example.org
Subject: Kontoauszug
Date: Mon, 16 Nov 2026 05:00:00 +0100
Message-ID: <auszug-11@bank.example.com>
MIME-Version: 1.0
Content-Type: text/csv; charset=utf-8; name="auszug.csv"
Content-Disposition: attachment; filename="auszug.csv"
Content-Transfer-Encoding: base64
"""
    return _letter(head, _b64(_STATEMENT.encode()))


def _eight_bit_header() -> bytes:
    """RFC 6532 in the header: raw UTF-8, as SMTPUTF8 allows."""
    head = """\
From: Åse Bjørnstad <åse@example.no>
To: anna@example.org
Subject: Blåbær på fjellet
Date: Tue, 17 Nov 2026 12:00:00 +0100
Message-ID: <blabaer@example.no>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit
"""
    return _letter(head, "Det er fortsatt blåbær på fjellet.\n")


def _bounce() -> bytes:
    head = """\
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
To: anna@example.org
Subject: Undelivered Mail Returned to Sender
Date: Wed, 18 Nov 2026 03:04:05 +0000 (UTC)
Message-ID: <20261118030405.AB12C@mx.example.net>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="report"
"""
    body = """\
--report
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.
--report
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; gone@example.net
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user
--report
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

From: anna@example.org
To: gone@example.net
Subject: Are you there?
Message-ID: <are-you-there@example.org>
--report--
"""
    return _letter(head, body)


def _wrong_charset() -> bytes:
    """Broken: claims a charset that does not exist, is windows-1252, and its header is raw latin-1."""
    head = b"""\
From: Caf\xe9 Central <post@cafe.example.com>
To: anna@example.org
Subject: D\xe9j\xe0 vu
Date: Thu, 19 Nov 2026 25:61:00 +0100
Message-ID: <deja@cafe.example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset="x-our-own"
"""
    body = "„Déjà vu“ \u2013 schon wieder kein Café.\n".encode("cp1252")
    return (head.strip() + b"\n\n" + body).replace(b"\n", b"\r\n")


def _cut_off() -> bytes:
    """Broken: the boundary it declares is not the one it uses, and its attachment ends in the middle."""
    head = """\
From: Dave <dave@example.com>
To: anna@example.org
Subject: Photos from the boiler room
Date: Fri, 20 Nov 2026 22:22:22 +0000
Message-ID: <photos@example.com>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="declared"
"""
    body = f"""\
--used
Content-Type: text/plain; charset=utf-8

The photos, as promised.
--used
Content-Type: image/png; name="boiler.png"
Content-Disposition: attachment; filename="boiler.png"
Content-Transfer-Encoding: base64

{_b64(_PIXEL)[:41]}
"""
    return _letter(head, body)
