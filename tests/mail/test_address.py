"""Lists of addresses as people and programs write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import errors
from daemon.mail import address
from daemon.mail.address import Mailbox

READ = [
    ("anna@example.org", [("", "anna@example.org")]),
    (" anna@example.org , ", [("", "anna@example.org")]),
    ("", []),
    (" ,; \n", []),
    ("Anna <anna@example.org>", [("Anna", "anna@example.org")]),
    ("Anna Maria  Berg <anna@example.org>", [("Anna Maria Berg", "anna@example.org")]),
    ("Anna<anna@example.org>", [("Anna", "anna@example.org")]),
    ("Anna < anna@example.org >", [("Anna", "anna@example.org")]),
    ("<anna@example.org>", [("", "anna@example.org")]),
    ('"Berg, Anna" <anna@example.org>', [("Berg, Anna", "anna@example.org")]),
    (r'"Anna \"the\" Berg" <anna@example.org>', [('Anna "the" Berg', "anna@example.org")]),
    ('"<x@y>" <anna@example.org>', [("<x@y>", "anna@example.org")]),
    ("J. R. Berg <anna@example.org>", [("J. R. Berg", "anna@example.org")]),
    ("Änne Böll <anna@example.org>", [("Änne Böll", "anna@example.org")]),
    ("李雷 <lei@example.org>", [("李雷", "lei@example.org")]),
    ("anna@example.org (Anna Berg)", [("Anna Berg", "anna@example.org")]),
    ("anna@example.org (Anna (really) Berg)", [("Anna (really) Berg", "anna@example.org")]),
    ("Anna <anna@example.org> (at home)", [("Anna", "anna@example.org")]),
    ("a@b, c@d;e@f\ng@h\r\ni@j", [("", "a@b"), ("", "c@d"), ("", "e@f"), ("", "g@h"), ("", "i@j")]),
    ("friends: a@b, Carl <c@d>; e@f", [("", "a@b"), ("Carl", "c@d"), ("", "e@f")]),
    ("undisclosed-recipients:;", []),
    ('"our friends": a@b;', [("", "a@b")]),
    ("=?utf-8?q?=C3=84nne?= <anna@example.org>", [("Änne", "anna@example.org")]),
    ("=?utf-8?b?w4Rubg==?= =?utf-8?q?e?= <anna@example.org>", [("Änne", "anna@example.org")]),
    ("=?nonsense?q?x?= <anna@example.org>", [("=?nonsense?q?x?=", "anna@example.org")]),
    ('"=?utf-8?q?x?=" <anna@example.org>', [("=?utf-8?q?x?=", "anna@example.org")]),
    ("<@relay.example,@other.example:anna@example.org>", [("", "anna@example.org")]),
    ("a+b_c.d'e@example.org", [("", "a+b_c.d'e@example.org")]),
    ('"anna berg"@example.org', [("", '"anna berg"@example.org')]),
    ('<"anna berg"@example.org>', [("", '"anna berg"@example.org')]),
    ('"anna"@example.org', [("", "anna@example.org")]),
    (r'"a\"b@c"@example.org', [("", r'"a\"b@c"@example.org')]),
    ('"a>b" <"a>b"@example.org>', [("a>b", '"a>b"@example.org')]),
    ('"a..b"@example.org', [("", '"a..b"@example.org')]),
    ("root@localhost", [("", "root@localhost")]),
    ("anna@[192.0.2.1]", [("", "anna@[192.0.2.1]")]),
    ("Anna <anna@[IPv6:2001:db8::1]>, b@c", [("Anna", "anna@[IPv6:2001:db8::1]"), ("", "b@c")]),
    ("anna@[IPv6:2001:db8::1]", [("", "anna@[IPv6:2001:db8::1]")]),
    ("anna@Example.ORG", [("", "anna@Example.ORG")]),
    ("anna@bücher.example", [("", "anna@xn--bcher-kva.example")]),
    ("anna@BÜCHER.example", [("", "anna@xn--bcher-kva.example")]),
    ("anna@例え。テスト", [("", "anna@xn--r8jz45g.xn--zckzah")]),
    ("änne@bücher.example", [("", "änne@xn--bcher-kva.example")]),
]


@pytest.mark.parametrize(("text", "expected"), READ, ids=[ascii(text) for text, _ in READ])
def test_lists_are_read_as_they_are_meant(text: str, expected: list[tuple[str, str]]) -> None:
    assert [Mailbox(name=name, address=spec) for name, spec in expected] == address.parse_list(text)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        # From the IDNA 2008 side of UTS 46's own table of deviations; IDNA 2003 would send the mail elsewhere.
        ("faß.de", "xn--fa-hia.de"),
        ("Straße.de", "xn--strae-oqa.de"),
        ("βόλος.com", "xn--nxasmm1c.com"),
        ("bücher-straße.de", "xn--bcher-strae-46a18a.de"),
    ],
)
def test_international_domains_are_those_of_idna_2008(domain: str, expected: str) -> None:
    assert expected == address.ascii_domain(domain)


WRONG = [
    ("anna", "“anna” is no address"),
    ("a@b, Berg", "“Berg” is no address"),
    ("Berg, Anna <anna@example.org>", "“Berg” is no address"),
    ("this is @ not an address, at all@", "separated by commas"),
    ("a@b c@d", "separated by commas"),
    ("Anna <a@b> c@d", "a comma is missing"),
    ("<a@b> <c@d>", "a comma is missing"),
    ("<>", "is no address"),
    ("anna@", "is no address"),
    ("@example.org", "is no address"),
    ("a@b@c", "“a@b”"),
    ("a..b@c", "needs quotes"),
    (".a@c", "needs quotes"),
    ("a.@c", "needs quotes"),
    ("a@b..c", "empty part"),
    ("a@b.", "empty part"),
    ("a@-b.c", "not for domains"),
    ("a@b_.c!d", "not for domains"),
    ("a@b c.d", "separated by commas"),
    ("a@" + "x" * 64 + ".org", "too long"),
    ("a@" + "ü" * 60 + ".org", "international"),
    ("a@" + "x." * 130 + "org", "longer than 255"),
    ("a" * 65 + "@b.org", "64 octets"),
    ("ä" * 33 + "@b.org", "64 octets"),
    ("a" * 60 + "@" + "b." * 100 + "org", "longer than 254"),
    ("a@[1.2.3]", "address literal"),
    ("a@[IPv6:1.2.3.4]", "address literal"),
    ("a@[", "address literal"),
    ('"Anna <a@b>', "a quote is not closed"),
    ("Anna (at home <a@b>", "a parenthesis is not closed"),
    ("(" * 50000, "a parenthesis is not closed"),
    ("Anna <a@b", "an angle bracket is not closed"),
    ("a\0b@c", "control character"),
    ("a@b\x7f", "control character"),
    ("a@b\x1b[31m", "control character"),
    ("\ud800@b", "control character"),
    ("a\u200bb@c", "invisible"),
    ("a\xa0b@c", "separated by commas"),
    ("a@x\u200dy.org", "invisible"),
    ("a@b℀c.org", "not for domains"),
    ("=?utf-8?q?x=00y?= <a@b>", "control character"),
    ("=?unicode_escape?q?=5Cud800?= <a@b>", "half a character"),
    ("x" * 1001 + " <a@b>", "longer than 1000"),
    ("a@b," * 300_000, "characters; at most"),
]


@pytest.mark.parametrize(("text", "reason"), WRONG, ids=[ascii(text)[:40] for text, _ in WRONG])
def test_wrong_addresses_are_named_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(errors.InputInvalid) as raised:
        address.parse_list(text)
    message = str(raised.value)
    assert reason in message
    assert message.isprintable()
    assert len(message) < 300


@pytest.mark.parametrize("text", ["", "a@b, c@d"])
def test_one_address_means_one(text: str) -> None:
    with pytest.raises(errors.InputInvalid, match="one address is needed"):
        address.parse_one(text)


def test_two_spellings_of_one_address_are_one() -> None:
    first, second = address.parse_list('"anna"@Example.org, anna@example.ORG')
    assert first.identity == second.identity
    other = address.parse_one("Anna@example.org")
    assert first.identity != other.identity, "the part before the @ belongs to its server"


def test_only_the_local_part_needs_smtputf8() -> None:
    assert [False, True] == [one.needs_smtputf8 for one in address.parse_list("anna@bücher.example, änne@b")]


def read(text: str) -> list[Mailbox] | str:
    """The addresses, or the complaint."""
    try:
        return address.parse_list(text)
    except errors.InputInvalid as error:
        return str(error)


@settings(max_examples=60)
@given(st.text(st.sampled_from('ab@.,;:<>()[]"\\ \n\t\0=?üß-_漢\ud800')) | st.text())
def test_any_text_gives_addresses_or_one_clear_line(text: str) -> None:
    found = read(text)
    if isinstance(found, str):
        assert found.isprintable()
        return
    for one in found:
        assert one.address == address.check(one.address), "canonical forms stay as they are"
        assert one.domain.isascii()
        assert not set("\r\n\0") & set(one.address + one.name)


@given(st.from_regex(r"[a-z+=_.-]{1,40}@[A-Za-z0-9._-]{1,40}", fullmatch=True))
def test_the_short_way_of_the_usual_addresses_says_what_the_long_one_says(given_address: str) -> None:
    """Quotes that are not needed are taken away, and with them every address goes the long way."""
    local, _, domain = given_address.partition("@")

    def checked(spelled: str) -> str:
        try:
            return address.check(spelled)
        except errors.InputInvalid:
            return "refused"

    long = checked(f'"{local}"@{domain}')
    assert (long if not long.startswith('"') else "refused") == checked(given_address)


@pytest.mark.parametrize("piece", ['"', "(", "<", "\\", "a@b ", "=?utf-8?q?a?=", "[", ":", "((((", '"\\', "a:", "ü."])
def test_long_nonsense_is_read_in_linear_time(piece: str) -> None:
    """A quadratic step would take minutes here, and the timeout of the suite would say so."""
    assert len(read(piece * (900_000 // len(piece)))) < 1000
