"""Octets into text, whatever they claim to be, and text into what every database takes.

The order is UTF-8, the declared charset, windows-1252, latin-1, with the exceptions that experience asks for. The result has
no NUL, no lone surrogate and no control but tab and line feed. Never raises. Pure.
"""

import codecs
import re
from encodings.aliases import aliases
from functools import lru_cache
from typing import Final

from daemon.mail.defects import Defect, Notes

# Names that are in mail but not in Python, or that mean more than they say: GB2312 text uses GBK's characters, and what
# calls itself latin-1 or ASCII is windows-1252 (WHATWG Encoding Standard, section 4.2).
_MEANT: Final = {
    "ascii": "cp1252",
    "iso8859_1": "cp1252",
    "latin_1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x_gbk": "gb18030",
    "ks_c_5601_1987": "cp949",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "x_sjis": "cp932",
    "big5": "big5hkscs",
    "x_big5": "big5hkscs",
    "iso_8859_8_i": "iso8859_8",
    "iso_8859_8_e": "iso8859_8",
    "windows_874": "cp874",
    "iso8859_9": "cp1254",
    "unicode_1_1_utf_7": "utf_7",
    "x_mac_roman": "mac_roman",
    "utf8mb4": "utf_8",
}
# Python's codecs that are no charset of text: `hex` and `rot13` turn text into text, `punycode` takes quadratic time.
_NO_CHARSETS: Final = frozenset(
    {
        *("base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"),
        *("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem", "palmos"),
    }
)
# A fixed list: looking up any name that a mail makes up would import, and remember, without bound.
_CODECS: Final = frozenset(aliases.values()) - _NO_CHARSETS | {
    "koi8_u",
    "cp874",
    "cp1006",
    "cp720",
    "cp737",
    "cp856",
    "cp875",
}
MAX_CHARSET_CHARACTERS: Final = 1000  # of a declared name that are looked at; the cache holds what mail makes up
_SEVEN_BIT: Final = (
    "iso2022",
    "hz",
    "utf_7",
    "utf_16",
    "utf_32",
)  # their octets may be ASCII and yet mean something else
_MULTI_OCTET: Final = ("gb", "big5", "cp949", "cp932", "euc", "johab")
_CLAIMS_NOTHING: Final = frozenset({"", "unknown", "default", "unknown_8bit", "x_unknown", "8bit", "binary", "none"})

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_PLAIN_CODECS: Final = frozenset({"", "utf_8", "cp1252"})
_CONTROL_OCTETS: Final = bytes((*range(9), *range(11, 32), 127))  # but tab and line feed
_C1: Final = re.compile(rb"\xc2[\x80-\x9f]")  # controls in UTF-8
_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f\ufffd]")
_BREAKS: Final = re.compile(r"\r\n?")
_BLANKS: Final = re.compile(r"[ \t]*[\n\t][ \t\n]*")


def decode(octets: bytes, declared: str, notes: Notes, *, wrong: Defect = Defect.CHARSET_WRONG) -> str:
    """Return the text of `octets`. declared: the charset they claim, "" for none.  wrong: what to note when they lie."""
    codec = _codec(declared[:MAX_CHARSET_CHARACTERS])
    if codec is None:
        notes.add(Defect.CHARSET_UNKNOWN)
        codec = ""
    if codec.startswith(("utf_16", "utf_32")) and b"\0" not in octets and octets.isascii():
        codec = ""  # a word processor's claim about plain ASCII
    if codec.startswith(_SEVEN_BIT):
        text = _strictly(octets, codec)
        if text is not None:
            return text
        notes.add(wrong)
    if octets.isascii():
        return octets.decode("ascii")
    if (
        octets.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        and (text := _strictly(octets, "utf_16")) is not None
    ):
        return text
    return _eight_bit(octets, codec, notes, wrong)


def text(octets: bytes, declared: str, notes: Notes) -> str:
    """Return the text of `octets` with line feeds as its only line ends, scrubbed."""
    if _codec(declared[:MAX_CHARSET_CHARACTERS]) in _PLAIN_CODECS:
        # Nearly all mail: ASCII or UTF-8 without controls, which is seen at a third of the price before it is decoded.
        lean = octets.replace(b"\r\n", b"\n")
        if len(lean.translate(None, _CONTROL_OCTETS)) == len(lean) and not lean.startswith(codecs.BOM_UTF8):
            if lean.isascii():
                return lean.decode("ascii")
            as_utf8 = _strictly(lean, "utf_8") if _C1.search(lean) is None else None
            if as_utf8 is not None and _codec(declared[:MAX_CHARSET_CHARACTERS]) == "utf_8":
                return as_utf8
    return scrubbed(decode(octets, declared, notes), notes)


def _eight_bit(octets: bytes, codec: str, notes: Notes, wrong: Defect) -> str:
    as_utf8 = _strictly(octets, "utf_8")
    declared_text = _strictly(octets, codec) if codec not in {"", "utf_8"} else None
    if as_utf8 is not None:
        # Valid UTF-8 is hardly ever anything else, but for a few characters of a two-octet charset. Were these UTF-8,
        # they would be three octets long.
        if declared_text is not None and codec.startswith(_MULTI_OCTET) and max(as_utf8) < "\u0800":
            return declared_text
        if codec not in {"", "utf_8"}:
            notes.add(wrong)
        return as_utf8.removeprefix("\ufeff")
    if declared_text is not None:
        return declared_text
    notes.add(wrong)
    if codec == "utf_8" or codec.startswith(_MULTI_OCTET):
        text = octets.decode(codec, "replace")
        if text.count("\ufffd") * 4 <= len(_BEYOND_ASCII.findall(text)):  # a few damaged characters among sound ones
            return text
    cp1252 = _strictly(octets, "cp1252")
    return octets.decode("latin-1") if cp1252 is None else cp1252


def _strictly(octets: bytes, codec: str) -> str | None:
    try:
        return octets.decode(codec)
    except (UnicodeError, LookupError):  # utf_16 and utf_7 raise the plain one
        return None


@lru_cache(maxsize=256)
def _codec(declared: str) -> str | None:
    """Return Python's name of a declared charset; "" when it claims none, None when it is none that we know."""
    name = re.sub(r"[^a-z0-9]+", "_", declared.strip().strip("\"'").lower()[:40]).strip("_")
    if name in _CLAIMS_NOTHING:
        return ""
    for one in (name, name.replace("_", ""), name.removeprefix("x_")):
        codec = _MEANT.get(one) or aliases.get(one, one)
        codec = _MEANT.get(codec, codec)
        if codec in _CODECS:
            return codec
    return None


def scrubbed(text: str, notes: Notes) -> str:
    """Return the text with line feeds as its only line ends and U+FFFD for controls and half characters."""
    if "\r" in text:
        text = _BREAKS.sub("\n", text)
    if _CONTROLS.search(text) is not None:
        notes.add(Defect.CHARACTERS_REPLACED)
        text = _CONTROLS.sub("\ufffd", text)
    return text


def one_line(text: str, notes: Notes) -> str:
    """Return the text scrubbed, without line breaks and without blanks around it."""
    if text.isprintable():  # nearly always: neither breaks nor controls
        return text.strip()
    return _BLANKS.sub(" ", scrubbed(text, notes)).strip()
