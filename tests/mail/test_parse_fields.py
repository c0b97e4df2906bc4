"""Header fields: encoded-words, addresses, Message-IDs."""

import pytest

from daemon.mail import headers, mailboxes
from daemon.mail.defects import Notes


def subject(value: bytes) -> tuple[str, tuple[str, ...]]:
    notes = Notes()
    return headers.unstructured(value, notes), notes.names()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        (b"=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        (b"Re: =?utf-8?q?a?= =?utf-8?q?b?= c", "Re: ab c"),
        (b"=?iso-8859-1?q?caf=E9?= =?utf-8?q?_cr=C3=A8me?=", "café crème"),
        (b"=?iso-2022-jp?B?GyRCJDMkcyRLJEEkTxsoQg==?=", "こんにちは"),
        (b"=?gb2312?B?tqzM7LXEw6g=?=", "冬天的猫"),
        (b"=?utf-8*de?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),  # RFC 2231 section 5: a language
        (b"=?utf-8?q??= x", "x"),
        (b"Gr\xc3\xbc\xc3\x9fe", "Grüße"),  # RFC 6532
        (b"folded\r\n\there", "folded here"),
        (b"what =? is ?= this", "what =? is ?= this"),
        (b"1 =?= 2", "1 =?= 2"),
        (b"=?utf-8?q?a=0D=0ABcc:_b?=", "a Bcc: b"),  # line breaks never survive
    ],
)
def test_encoded_words_are_read(value: bytes, text: str) -> None:
    assert (text, ()) == subject(value)


@pytest.mark.parametrize(
    ("value", "text", "defect"),
    [
        (b"=?utf-8?B?R3LDvMOfZQ?=", "Grüße", "encoded_word_repaired"),  # padding forgotten
        (b"=?utf-8?B?R3LDvM OfZQ==?=", "Grüße", "encoded_word_repaired"),
        (b"=?utf-8?q?Gr=C3?=\r\n =?utf-8?q?=BC=C3=9Fe?=", "Grüße", "encoded_word_repaired"),  # a character cut in two
        (b"=?utf-8?b?R3LD?= =?utf-8?b?vMOfZQ==?=", "Grüße", "encoded_word_repaired"),
        (b"=?utf-8?q?a b?=", "a b", "encoded_word_repaired"),
        (b"a=?utf-8?q?b?=c", "abc", "encoded_word_repaired"),
        (b"=?utf-8?q?a?==?utf-8?q?b?=", "ab", "encoded_word_repaired"),  # no blank between
        (b"=?utf-8?q?Gr\xc3\xbc\xc3\x9fe?=", "Grüße", "encoded_word_repaired"),
        (b"=?utf-8?q?no end", "=?utf-8?q?no end", "encoded_word_broken"),
        (b"=?utf-8?q?no end =?utf-8?q?well?=", "=?utf-8?q?no end well", "encoded_word_broken"),
        (b"=?utf-8?B?A?=", "=?utf-8?B?A?=", "encoded_word_broken"),
        (b"=?utf-8?q?caf=E9?=", "café", "encoded_word_broken"),
        (b"=?x-none?q?caf=C3=A9?=", "café", "charset_unknown"),
        (b"=?hex?q?4142?=", "4142", "charset_unknown"),
        (b"caf\xe9", "café", "header_charset_guessed"),
        (b"=?utf-8?q?a=00b?=", "a\ufffdb", "characters_replaced"),
        (b"=?utf-7?q?+2AA-?=", "\ufffd", "characters_replaced"),  # half of a surrogate pair
    ],
)
def test_broken_words_are_repaired_or_left_and_named(value: bytes, text: str, defect: str) -> None:
    found, defects = subject(value)
    assert text == found
    assert defect in defects


def boxes(*values: bytes) -> list[tuple[str, str]]:
    return [tuple(one) for one in mailboxes.read(list(values), Notes())]  # type: ignore[misc] # a NamedTuple of two


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"anna@example.org", [("", "anna@example.org")]),
        (b"<anna@example.org>", [("", "anna@example.org")]),
        (b"Anna <anna@example.org>", [("Anna", "anna@example.org")]),
        (b"Anna<anna@example.org>", [("Anna", "anna@example.org")]),
        (b'"Doe, Jane" <jane@example.org>', [("Doe, Jane", "jane@example.org")]),
        (b'"a \\"b\\" c" <x@example.org>', [('a "b" c', "x@example.org")]),
        (b"a@b.c, d@e.f", [("", "a@b.c"), ("", "d@e.f")]),
        (b"a@b.c; d@e.f", [("", "a@b.c"), ("", "d@e.f")]),  # Outlook
        (b"anna@example.org (Anna A.)", [("Anna A.", "anna@example.org")]),
        (b"Anna (work) <anna@example.org>", [("Anna", "anna@example.org")]),
        (b"Friends: a@b.c, B <d@e.f>;, g@h.i", [("", "a@b.c"), ("B", "d@e.f"), ("", "g@h.i")]),
        (b"undisclosed-recipients:;", []),
        (b"=?utf-8?q?Zo=C3=AB?= <zoe@example.org>", [("Zoë", "zoe@example.org")]),
        (b'"=?utf-8?q?Zo=C3=AB?=" <zoe@example.org>', [("Zoë", "zoe@example.org")]),  # against the rules, and common
        (b"=?utf-8?q?a,b?= <c@d.e>", [("a,b", "c@d.e")]),
        (b"=?utf-8?q?J=C3=B6rg?= =?utf-8?q?_M?= <j@m.de>", [("Jörg M", "j@m.de")]),
        (b"<@relay.example,@b:anna@example.org>", [("", "anna@example.org")]),  # a route, RFC 5322 section 4.4
        (b'"john smith"@example.org', [("", '"john smith"@example.org')]),
        (b'<"john smith"@example.org>', [("", '"john smith"@example.org')]),
        (b"Anna anna@example.org", [("Anna", "anna@example.org")]),  # brackets forgotten
        (b"Anna <anna@example.org", [("Anna", "anna@example.org")]),
        (b"anna @ example.org", [("", "anna@example.org")]),
        (b"anna@example.org <anna@example.org>", [("", "anna@example.org")]),
        (b"mailto:anna@example.org", [("", "anna@example.org")]),
        (b"\xc3\xa5se@example.no", [("", "åse@example.no")]),
        (b"Anna", [("Anna", "")]),
        (b"<>", []),
        (b",,;,", []),
        (b'"unclosed <a@b.c>', [("unclosed", "a@b.c")]),
        (b"((((", []),
        (b"a@b.c (unclosed", [("unclosed", "a@b.c")]),
        (b"Joe (a (nested) one) <a@b.c>", [("Joe", "a@b.c")]),
    ],
)
def test_addresses_are_read_as_a_person_would(value: bytes, expected: list[tuple[str, str]]) -> None:
    assert expected == boxes(value)


@pytest.mark.parametrize(
    ("name", "address", "shown"),
    [("", "a@b", "a@b"), ("A", "a@b", "A <a@b>"), ("B, A", "a@b", '"B, A" <a@b>'), ("A", "", "A")],
)
def test_addresses_are_shown_so_that_they_can_be_read_again(name: str, address: str, shown: str) -> None:
    assert shown == mailboxes.Listed(name, address).shown


@pytest.mark.parametrize(
    "value",
    [b"Anna anna@example.org", b"Anna <anna@example.org", b'"unclosed <a@b.c>', b"a@b.c (unclosed", b"a @ b c@d"],
)
def test_repairs_of_addresses_are_named(value: bytes) -> None:
    notes = Notes()
    mailboxes.read([value], notes)
    assert ("address_repaired",) == notes.names()


def test_too_many_addresses_are_cut_and_named() -> None:
    notes = Notes()
    assert mailboxes.MAX_ADDRESSES == len(mailboxes.read([b"a@b.c," * 50_000], notes))
    assert ("addresses_truncated",) == notes.names()


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (b"<a@b>", ("a@b",)),
        (b"<a@b> <c@d>\r\n <a@b>", ("a@b", "c@d")),
        (b"a@b", ("a@b",)),
        (b"<folded\r\n @here>", ("folded@here",)),
        (b"Your message of Monday <a@b>", ("a@b",)),
        (b"", ()),
        (b"<>", ()),
        (b"words only", ()),
    ],
)
def test_message_ids_are_found(value: bytes, ids: tuple[str, ...]) -> None:
    assert ids == headers.message_ids(value, Notes())


def test_an_empty_message_id_is_named() -> None:
    notes = Notes()
    headers.message_ids(b"<>", notes)
    assert ("message_id_unreadable",) == notes.names()
