"""What of a text is quoted, and what is a signature: the ranges, shown as the pieces that they cover."""

# ruff: noqa: RUF001 -- colons and letters of other scripts
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.mail import body, parse, quotes
from daemon.mail.defects import Notes

BLOCK = (
    "From: Bob <bob@example.net>\nSent: Monday, 23 November 2026 12:00\nTo: Anna\nSubject: Kettle\n\nIt is on strike."
)


def pieces(text: str, subject: str = "Re: Kettle") -> tuple[list[str], list[str]]:
    clean, quoted, signatures = quotes.taken_out(quotes.marked(text, forwards=quotes.is_forwarding(subject)), Notes())
    assert text == clean
    return [clean[begin:end] for begin, end in quoted], [clean[begin:end] for begin, end in signatures]


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("no quote: none", []),
        ("yes\n\n> is it?\n>> was it?\n\n> so?\n\nno\n> what", ["> is it?\n>> was it?\n\n> so?", "> what"]),
        ("On Mon, 23 Nov 2026 at 12:00, Bob wrote:\n> x\n\nnews", ["On Mon, 23 Nov 2026 at 12:00, Bob wrote:\n> x"]),
        ("news\n\nOn Mon, 23 Nov 2026 at 12:00, Bob Builder\n<bob@example.net> wrote:\n\n> x", ["On Mon, 23 Nov 2026 at 12:00, Bob Builder\n<bob@example.net> wrote:\n\n> x"]),
        ("bob@example.net writes:\n> x", ["bob@example.net writes:\n> x"]),
        ("Dear all:\n\nnews", []),
        ("I ask:\n> x", ["> x"]),
        (">From here on", []),
        ("news\n-----Original Message-----\n" + BLOCK, ["-----Original Message-----\n" + BLOCK]),
        ("news\n\n________________________________\n" + BLOCK, ["________________________________\n" + BLOCK]),
        ("news\n\n" + BLOCK, [BLOCK]),
        ("news\n\n*Von:* Bob\n*Gesendet:* Montag\n*An:* Anna\n*Betreff:* Kessel\n\nalt", ["*Von:* Bob\n*Gesendet:* Montag\n*An:* Anna\n*Betreff:* Kessel\n\nalt"]),
        ("ok\n\nDe : Bob\nEnvoyé : lundi\nÀ : Anna\nObjet : x\n\nvieux", ["De : Bob\nEnvoyé : lundi\nÀ : Anna\nObjet : x\n\nvieux"]),
        ("好\n\n发件人：Bob\n发送时间：2026\n收件人：Anna\n\n旧", ["发件人：Bob\n发送时间：2026\n收件人：Anna\n\n旧"]),
        ("From: the kettle\nit is said that", []),
        ("news\n---------- Forwarded message ---------\n" + BLOCK, []),
        ("--------\n\nnews", []),
    ],
)  # fmt: skip
def test_quotes_are_found_in_text(text: str, quoted: list[str]) -> None:
    assert (quoted, []) == pieces(text)


@pytest.mark.parametrize(
    "attribution",
    [
        "On 23/11/2026 12:00, Bob wrote:",
        "Am 23.11.2026 um 12:00 schrieb Bob:",
        "Am Mo., 23. Nov. 2026 um 12:00 Uhr schrieb Bob <bob@example.net>:",
        "Le lun. 23 nov. 2026 à 12:00, Bob <bob@example.net> a écrit :",
        "El lun, 23 nov 2026 a las 12:00, Bob escribió:",
        "Em seg., 23 de nov. de 2026 às 12:00, Bob escreveu:",
        "Il giorno lun 23 nov 2026 alle ore 12:00 Bob ha scritto:",
        "Op ma 23 nov 2026 om 12:00 schreef Bob <bob@example.net>:",
        "W dniu 23.11.2026 o 12:00, Bob pisze:",
        "Den mån 23 nov. 2026 kl 12:00 skrev Bob <bob@example.net>:",
        "Dne 23. 11. 2026 v 12:00 Bob napsal(a):",
        "23.11.2026 12:00, Боб пишет:",
        "23 Kas 2026 12:00 tarihinde Bob şunu yazdı:",
        "2026. nov. 23. 12:00 keltezéssel, Bob ezt írta:",
        "23. marraskuuta 2026 klo 12.00 Bob kirjoitti:",
        "2026年11月23日(月) 12:00 Bob のメール:",
    ],
)
def test_attributions_are_known_in_many_languages(attribution: str) -> None:
    """Also where nothing else tells that what follows is quoted."""
    assert ([f"{attribution}\n\nIs it?"], []) == pieces(f"It is.\n\n{attribution}\n\nIs it?")


@pytest.mark.parametrize(
    ("text", "signatures"),
    [
        ("news\n-- \nAnna\n+49", ["-- \nAnna\n+49"]),
        ("news\n--\nAnna", ["--\nAnna"]),
        ("-- \nAnna\n\n> quoted", ["-- \nAnna"]),
        ("news\n--\n" + "line\n" * 40, []),  # a rule
        ("news\n\nSent from my telephone", ["Sent from my telephone"]),
        ("news\n\nVon meinem iPhone gesendet\n\n> x", ["Von meinem iPhone gesendet"]),
        ("Sent from my heart to yours\nand back", []),
        ("news\n" + "_" * 47 + "\nclub mailing list\nclub@example.org", ["_" * 47 + "\nclub mailing list\nclub@example.org"]),
        ("news\n" + "_" * 47 + "\nmore", []),
    ],
)  # fmt: skip
def test_signatures_are_found(text: str, signatures: list[str]) -> None:
    assert signatures == pieces(text)[1]


@pytest.mark.parametrize("subject", ["Fwd: Kettle", "WG: Kettle", "TR : Kettle"])
def test_what_is_sent_on_is_news(subject: str) -> None:
    assert ([], []) == pieces("see below\n\n-----Original Message-----\n" + BLOCK, subject)
    assert ["> x"] == pieces("> x", subject)[0]


HEAD = b"From: a@example.org\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nSubject: Re: Kettle\r\n"


def of_html(html: str) -> tuple[str, list[str], list[str]]:
    found = parse.parse(HEAD + b"Content-Type: text/html; charset=utf-8\r\n\r\n" + html.encode())
    text = found.body_text
    assert not found.defects
    return text, [text[b:e] for b, e in found.quoted_ranges], [text[b:e] for b, e in found.signature_ranges]


@pytest.mark.parametrize(
    ("html", "text", "quoted", "signatures"),
    [
        (
            '<div>yes</div><div class="gmail_quote"><div class="gmail_attr">On Monday Bob wrote:</div><blockquote>is it?<blockquote type="cite">was it?</blockquote></blockquote></div>',
            "yes\nOn Monday Bob wrote:\n\nis it?\n\nwas it?",
            ["On Monday Bob wrote:\n\nis it?\n\nwas it?"],
            [],
        ),
        ('<blockquote type="cite"><p>one</p></blockquote><p>two</p>', "one\n\ntwo", ["one"], []),
        ('<p>a</p><blockquote type="CITE">b</blockquote>c<blockquote type="cite">d</blockquote>', "a\n\nb\n\nc\n\nd", ["b", "d"], []),
        ("<p>as the poet said</p><blockquote>roses</blockquote>", "as the poet said\n\nroses", [], []),
        ('<p>hi</p><div class="gmail_signature">Anna<br>+49</div>', "hi\n\nAnna\n+49", [], ["Anna\n+49"]),
        ('<p>hi</p><div class="gmail_quote">---------- Forwarded message ---------<br>old</div>', "hi\n\n---------- Forwarded message ---------\nold", [], []),
        ("<p>hi</p><div>-----Original Message-----</div><p><b>From:</b> Bob<br><b>Sent:</b> x<br><b>To:</b> y</p><p>old</p>", "hi\n\n-----Original Message-----\n\nFrom: Bob\nSent: x\nTo: y\n\nold", ["-----Original Message-----\n\nFrom: Bob\nSent: x\nTo: y\n\nold"], []),
        ('<p>x&#1;y&#x0002;z</p><div class="gmail_quote"></div>', "xyz", [], []),  # no marks from outside
    ],
)  # fmt: skip
def test_html_says_what_is_quoted(html: str, text: str, quoted: list[str], signatures: list[str]) -> None:
    assert (text, quoted, signatures) == of_html(html)


def test_ranges_are_those_of_the_whole_text() -> None:
    parts = b"--b\r\n\r\nfirst\r\n--b\r\n\r\n> two\r\n-- \r\nme\r\n--b--\r\n"
    found = parse.parse(HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + parts)
    assert "first\n\n> two\n-- \nme" == found.body_text
    assert (((7, 12),), ((13, 19),)) == (found.quoted_ranges, found.signature_ranges)


def test_ranges_end_where_the_text_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_BODY_CHARACTERS", 10)
    found = parse.parse(HEAD + b"\r\nfirst\r\n> quoted\r\nlast\r\n> more\r\n")
    assert ("first\n> qu", ((6, 10),)) == (found.body_text, found.quoted_ranges)
    assert "text_truncated" in found.defects


def test_too_many_ranges_are_cut_and_named() -> None:
    found = parse.parse(HEAD + b"\r\n" + b"> x\r\ny\r\n" * 501)
    assert quotes.MAX_RANGES == len(found.quoted_ranges)
    assert ("ranges_truncated",) == found.defects


LINES = st.sampled_from(
    ["> x", "-- ", "--", "On 1.1.2026 Bob wrote:", "From: a", "Sent: b", "To: c", "", "news", "_" * 30, "---- a ----", "Fwd:", "list", "\x01", "\x02", "\x03x", "\x04"]
)  # fmt: skip


@given(lines=st.lists(LINES | st.text(max_size=4), max_size=25))
@settings(max_examples=150, deadline=None)
def test_ranges_lie_in_the_text_in_order_and_apart(lines: list[str]) -> None:
    text = "\n".join(lines).replace("\r", "")
    clean, *kinds = quotes.taken_out(quotes.marked(text, forwards=False), Notes())
    assert [one for one in text if one not in "\x01\x02\x03\x04"] == list(clean)
    for ranges in kinds:
        flat = [place for one in ranges for place in one]
        assert sorted(flat) == flat
        assert all(0 <= begin < end <= len(clean) for begin, end in ranges)


@pytest.mark.parametrize(
    "line", ["> x\n", "-- \n", "--\n", "On 1.1.2026 Bob wrote:\n", "From: a\n", "x:\n", "-- \n> x\n", "---- skrev ----\n", "skrev " * 50 + ":\n", "\n", "From: a\nTo: b\n\n"]
)  # fmt: skip
def test_much_of_anything_takes_little_time(line: str) -> None:
    text = line * (200_000 // len(line))
    began = time.process_time()
    quotes.taken_out(quotes.marked(text, forwards=False), Notes())
    assert time.process_time() - began < 3.0  # 0.2 at most on a free machine; in a square of the length, minutes
