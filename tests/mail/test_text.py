"""Octets into text by their charset, and HTML into text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.mail import charset, text
from daemon.mail.defects import Notes


@pytest.mark.parametrize(
    ("octets", "declared", "expected", "defects"),
    [
        (b"ascii", "", "ascii", ()),
        ("Grüße".encode(), "", "Grüße", ()),
        ("Grüße".encode(), "utf-8", "Grüße", ()),
        ("\ufeffGrüße".encode(), "utf-8", "Grüße", ()),
        ("Grüße".encode("latin-1"), "iso-8859-1", "Grüße", ()),
        ("€ „Grüße“".encode("cp1252"), "iso-8859-1", "€ „Grüße“", ()),  # windows-1252 that calls itself latin-1
        ("Grüße".encode(), "iso-8859-1", "Grüße", ("charset_wrong",)),
        ("Grüße".encode(), "us-ascii", "Grüße", ("charset_wrong",)),
        ("Grüße".encode("latin-1"), "utf-8", "Grüße", ("charset_wrong",)),
        ("Grüße".encode("latin-1"), "", "Grüße", ("charset_wrong",)),
        (b"\x81\x8d", "", "\x81\x8d", ("charset_wrong",)),  # what not even windows-1252 has
        ("Тираж".encode("koi8-r"), "KOI8-R", "Тираж", ()),
        ("冬天".encode("gb18030"), "gb2312", "冬天", ()),
        ("模".encode("gbk"), "gbk", "模", ()),  # two octets that are valid UTF-8 too
        ("冬天的猫".encode(), "gb2312", "冬天的猫", ("charset_wrong",)),
        ("ひらがな".encode("shift_jis"), "x-sjis", "ひらがな", ()),
        ("こんにちは".encode("iso-2022-jp"), "iso-2022-jp", "こんにちは", ()),
        ("안녕".encode("euc-kr"), "ks_c_5601-1987", "안녕", ()),
        ("안녕".encode("utf-16"), "utf-16", "안녕", ()),
        ("안녕".encode("utf-16"), "", "안녕", ()),
        (b"plain", "utf-16", "plain", ()),
        (b"Gr+APwA3w-e", "utf-7", "Grüße", ()),
        (b"\xc3\xa9" * 50 + b"\xff", "utf-8", "é" * 50 + "\ufffd", ("charset_wrong",)),  # one damaged octet
        ("é".encode(), "x-nonsense", "é", ("charset_unknown",)),
        ("é".encode(), "unknown-8bit", "é", ()),
        ("é".encode(), '"utf-8"', "é", ()),
        ("é".encode(), "UTF8", "é", ()),
        ("é".encode("cp850"), "cp-850", "é", ()),
        ("é".encode("cp1252"), "windows-1252", "é", ()),
        ("é".encode("mac-roman"), "x-mac-roman", "é", ()),
    ],
)
def test_charsets_are_believed_when_they_can_be(
    octets: bytes, declared: str, expected: str, defects: tuple[str, ...]
) -> None:
    notes = Notes()
    assert (expected, defects) == (charset.decode(octets, declared, notes), notes.names())


PIECES = st.sampled_from(
    [b"\r\n", b"\r", b"\n", b"\t", b"\0", b"\x1b", b"\x7f", b"\xc2\x85", b"\xc2\xa0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\x0d\x0a", b"a", b"\x92"]
)  # fmt: skip
CHARSETS = st.sampled_from(["", "us-ascii", "utf-8", "iso-8859-1", "utf-16", "utf-16-be", "gb2312", "x-none", "utf-7"])


@given(
    octets=st.lists(PIECES | st.text(max_size=2).map(lambda one: one.encode()), max_size=8).map(b"".join),
    declared=CHARSETS,
)
@settings(max_examples=300, deadline=None)
def test_the_short_way_to_a_text_is_the_long_one(octets: bytes, declared: str) -> None:
    short, long = Notes(), Notes()
    assert charset.scrubbed(charset.decode(octets, declared, long), long) == charset.text(octets, declared, short)
    assert long.names() == short.names()


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("tab\tstays", "tab\tstays"),
        ("nul\0 esc\x1b[2J del\x7f c1\x9b", "nul\ufffd esc\ufffd[2J del\ufffd c1\ufffd"),
        ("half \ud800 character", "half \ufffd character"),
        ("whole 🎻 character", "whole 🎻 character"),
    ],
)
def test_text_is_made_harmless(before: str, expected: str) -> None:
    assert expected == charset.scrubbed(before, Notes())


def shown(html: str) -> str:
    return text.html_to_text(html, Notes())


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("one<br>two<BR/>three", "one\ntwo\nthree"),
        ("Fahr<b>rad</b>kel<i>ler</i>", "Fahrradkeller"),  # no break within a word
        ("<div>a</div><div>b</div>", "a\nb"),
        ("a\n  b\t c", "a b c"),
        ("<pre>a\nb</pre>", "a\nb"),
        ("<ul><li>a<li>b</ul>", "a\nb"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("&uuml;&#252;&#xfc;&nbsp;&amp;&lt;b&gt;", "üüü &<b>"),
        ("<style>p{}</style><script>x()</script><p>text</p>", "text"),
        ("<html><head><title>T</title><style>x</style></head><body>text</body></html>", "text"),
        ("<!-- no --><![if !mso]>text<![endif]>", "text"),
        ("in\u00advisi\u200bble", "invisible"),
        ("<p>unclosed <b>tags", "unclosed tags"),
        ("a < b > c", "a < b > c"),
        ("", ""),
        ("no tags at all", "no tags at all"),
        ("<frameset><frame></frameset>", ""),
        ("<p>one</p>\n\n\n<p>\n</p><div> <br> </div><p>two</p>", "one\n\ntwo"),
    ],
)
def test_html_is_shown_as_a_browser_would(html: str, expected: str) -> None:
    assert expected == shown(html)


ADDRESS = "https://example.org/a"


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (f'<p>See <a href="{ADDRESS}">the page</a>, please.</p>', f"See the page <{ADDRESS}>, please."),
        (f'<a href="{ADDRESS}">https://example.org/a</a>', "https://example.org/a"),
        ('<a href="https://www.example.org/">example.org</a>', "example.org"),  # the text says it
        ('<a href="https://evil.example/">example.org</a>', "example.org <https://evil.example/>"),
        (f'<a href="{ADDRESS}"><img src="x.png"></a>', ""),  # a picture
        (f'<a href="{ADDRESS}">one</a> <a href="{ADDRESS}">two</a>', f"one <{ADDRESS}> two"),
        ('<a href="mailto:bob@example.net?subject=x">write</a>', "write <bob@example.net>"),
        ('<a href="mailto:bob@example.net">bob@example.net</a>', "bob@example.net"),
        ('<a href="#top">top</a><a href="javascript:x()">x</a><a name="y">y</a>', "topxy"),
        (f'<a href="{ADDRESS}?utm={"x" * 90}">go</a>', f"go <{ADDRESS}>"),
        (f'<a href="https://t.example/{"x" * 90}">go</a>', "go <https://t.example/…>"),
    ],
)
def test_links_have_their_address_where_their_text_is_another(html: str, expected: str) -> None:
    assert expected == shown(html)


@pytest.mark.parametrize(
    "style",
    [
        "display:none",
        "DISPLAY : none !important; x",
        "visibility:hidden",
        "opacity:0",
        "opacity: 0.0;",
        "max-height:0px;overflow:hidden",
        "font-size:0",
        "font-size:1px;line-height:1px",
    ],
)
def test_what_a_page_hides_is_left_out(style: str) -> None:
    assert "seen" == shown(f'<div style="{style}">preheader<span style="{style}">in it</span></div><p>seen</p>')


@pytest.mark.parametrize(
    "html",
    [
        '<div style="opacity:0.5">seen</div>',
        '<div style="opacity:.9">seen</div>',
        '<table style="font-size:0"><tr><td style="font-size:14px">seen</td></tr></table>',  # closes gaps
        '<a style="mso-hide:all">seen</a>',  # in Outlook only, which has a button of its own there
        '<div style="max-height:100px">seen</div>',
        '<body style="display:none">seen</body>',
    ],
)
def test_what_a_page_shows_is_kept(html: str) -> None:
    assert "seen" == shown(html)


def test_hidden_by_an_attribute() -> None:
    assert "seen" == shown("<p hidden>not</p><p>seen</p>")


def test_pictures_leave_nothing() -> None:
    assert "a" == shown('a<img src="https://t.example/pixel.gif" width="1" height="1" alt="">')


def test_entities_give_no_controls() -> None:
    notes = Notes()
    assert "a\ufffd[2J" == text.html_to_text("a&#27;[2J", notes)
    assert ("characters_replaced",) == notes.names()


def test_deep_nesting_is_cut_out_rather_than_read() -> None:
    notes = Notes()
    assert "deep &" == text.html_to_text("<div>" * 20_000 + "deep &amp;", notes)
    assert ("html_tangled",) == notes.names()


def test_a_page_of_many_tags_is_no_tangle() -> None:
    notes = Notes()
    assert 6000 == text.html_to_text("<p>a<b>b</b><br></p>" * 6000, notes).count("ab")
    assert () == notes.names()


def test_long_html_is_cut() -> None:
    notes = Notes()
    assert text.MAX_HTML_CHARACTERS == len(text.html_to_text("x" * 300_000, notes))
    assert ("text_truncated",) == notes.names()
