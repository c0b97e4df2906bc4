"""Make a complete message carriable where it is not: 8-bit octets for a relay without 8BITMIME (RFC 6152); NUL and long lines.

Only leaf parts that need it are encoded anew (RFC 2045 section 6), in quoted-printable or base64, with their and their
multiparts' Content-Transfer-Encoding; each decodes to the octets that it had. All other octets stay: boundaries, preambles,
other fields. What can't be mended is InputInvalid with the reason: a field with 8-bit octets, what a signature covers, parts that
two readers may see differently. Takes CRLF line ends, and nothing else. Linear, one copy of what is changed. Pure.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from typing import Final

from daemon.errors import InputInvalid
from daemon.mail import mime
from daemon.mail.defects import Defect, Notes
from daemon.mail.mime import Part

MAX_LINE_OCTETS: Final = 998  # RFC 5322 section 2.1.1, without its CRLF

# What leaves it open where the parts lie, or which fields they have.
_UNCERTAIN: Final = frozenset(
    {
        Defect.NO_HEADER,
        Defect.HEADER_MALFORMED,
        Defect.HEADERS_TRUNCATED,
        Defect.CONTENT_TYPE_UNREADABLE,
        Defect.BOUNDARY_MISSING,
        Defect.NESTED_TOO_DEEP,
        Defect.TOO_MANY_PARTS,
    }
)
_SEALED: Final = frozenset(
    {"multipart/signed", "multipart/encrypted"}
)  # RFC 1847 section 2.1: opaque to all on the way
_UNENCODED: Final = frozenset({"", "7bit", "8bit", "binary"})
_SIGNATURE: Final = re.compile(rb"^(?:DKIM-Signature|DomainKey-Signature)[ \t]*:", re.IGNORECASE | re.MULTILINE)
_ENCODING: Final = re.compile(
    rb"^Content-Transfer-Encoding[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE
)
_MIME_VERSION: Final = re.compile(rb"^MIME-Version[ \t]*:", re.IGNORECASE | re.MULTILINE)


def seven_bit(content: bytes) -> bytes:
    """Return the message in ASCII; as it is if it is that already."""
    if content.isascii():
        return content
    return _Mending(
        content, bytes.isascii, "8-bit octets, which this relay does not take (no 8BITMIME)", relabels=True
    ).done()


def carriable(content: bytes) -> bytes:
    """Return the message without what no mail carries, NUL and long lines (RFC 5321 section 4.5.3.1.6, RFC 2045 section 2.8)."""
    if is_carriable(content):
        return content
    what = f"a line of more than {MAX_LINE_OCTETS} octets, or NUL, which mail does not carry"
    return _Mending(content, is_carriable, what, relabels=False).done()


def is_carriable(octets: bytes) -> bool:
    """Tell whether there is neither NUL nor a long line."""
    return b"\0" not in octets and has_short_lines(octets)


def has_short_lines(octets: bytes) -> bool:
    """Tell whether each line is short enough. Goes from line end to line end, as far apart as they may be."""
    at = 0
    while len(octets) - at > MAX_LINE_OCTETS:
        # The last line end that this line may have; the lines before it, in the same stretch, are shorter still.
        found = octets.rfind(b"\n", at, at + MAX_LINE_OCTETS + 2)
        if found < 0:
            return False
        at = found + 1
    return True


class _Mending:
    """One message; `fits` tells whether octets can go as they are."""

    def __init__(self, content: bytes, fits: Callable[[bytes], bool], what: str, *, relabels: bool) -> None:
        """Say what does not fit in `what`.  relabels: parts said to be 8bit or binary are 7bit afterwards."""
        self._content, self._fits, self._what, self._relabels = content, fits, what, relabels
        self._pieces: list[bytes] = []
        self._copied = 0  # octets of the content that the pieces stand for

    def done(self) -> bytes:
        """Return the mended message."""
        notes = Notes()
        root = mime.tree(self._content, notes)
        uncertain = _UNCERTAIN.intersection(notes.names())
        if uncertain:
            raise self._hopeless("the message", f"its parts can't be told apart ({', '.join(sorted(uncertain))})")
        self._part(root, ())
        self._pieces.append(self._content[self._copied :])
        mended = b"".join(self._pieces)
        if not self._fits(mended):
            raise self._hopeless("what stands between its parts", "only a part can be encoded")
        return mended

    def _hopeless(self, where: str, why: str) -> InputInvalid:
        return InputInvalid(f"{self._what}, in {where}: {why}")

    def _part(self, part: Part, boundaries: tuple[bytes, ...]) -> bool:
        """Mend a part and what is below it; tell whether it is 7bit now, label and all."""
        header = self._content[part.begin : part.start]
        if not self._fits(header):
            raise self._hopeless(
                f"the header of {_named(part)}", "a field can't be encoded without knowing what it means"
            )
        seal = part.content_type if part.content_type in _SEALED else "DKIM" if _SIGNATURE.search(header) else ""
        if seal:
            if not self._fits(self._content[part.begin : part.end]):
                raise self._hopeless(
                    _named(part), f"it is signed or encrypted ({seal}), and any change would break that"
                )
            return part.encoding in {"", "7bit"}
        if not part.children or part.encoding not in _UNENCODED:
            self._leaf(part, header, boundaries)
            return True
        if part.content_type.startswith("multipart/"):
            boundaries = (*boundaries, part.parameters.get("boundary", "").encode())
        # The label stands before the parts that decide what it says: its place is kept.
        place, copied, self._copied = len(self._pieces), self._copied, part.start
        mended = [self._part(child, boundaries) for child in part.children]
        is_7bit = all(mended)
        if is_7bit and self._relabels and part.encoding in {"8bit", "binary"}:
            self._pieces[place:place] = self._labelled(part, header, "7bit", copied)
        else:
            self._pieces.insert(place, self._content[copied : part.start])
        return is_7bit

    def _leaf(self, part: Part, header: bytes, boundaries: tuple[bytes, ...]) -> None:
        octets = self._content[part.start : part.end]
        if not self._fits(octets):
            if part.content_type.startswith(("message/", "multipart/")):
                raise self._hopeless(_named(part), f"RFC 2046 lets no {part.content_type} be encoded")
            encoding, encoded = self._encoded(part, octets, boundaries)
            self._pieces += [*self._labelled(part, header, encoding, self._copied), encoded]
            self._copied = part.end
        elif self._relabels and part.encoding in {"8bit", "binary"}:
            self._pieces += self._labelled(part, header, "7bit", self._copied)
            self._copied = part.start

    def _encoded(self, part: Part, octets: bytes, boundaries: tuple[bytes, ...]) -> tuple[str, bytes]:
        if part.encoding == "base64":
            try:  # lines of any length, by programs that forgot to break them
                return "base64", _base64(binascii.a2b_base64(b"".join(octets.split()), strict_mode=True), octets)
            except binascii.Error:
                raise self._hopeless(_named(part), "it claims to be base64, and is not") from None
        if part.encoding not in _UNENCODED:
            raise self._hopeless(_named(part), f"it claims to be encoded already ({part.encoding[:40]})")
        if part.content_type.startswith("text/"):
            # With the line end binascii ends its soft line breaks in CRLF, and encodes blanks at the end of the last line.
            quoted = binascii.b2a_qp(octets + b"\r\n", istext=True)[:-2]
            # A soft line break may bring what looks like a delimiter to the beginning of a line.
            is_clear = not any(b"\n--" + one in b"\n" + quoted for one in boundaries)
            if is_clear and len(quoted) <= 2 * len(octets) + 100:  # of German; Greek would be longer than in base64
                return "quoted-printable", quoted
        return "base64", _base64(octets, octets)

    def _labelled(self, part: Part, header: bytes, encoding: str, copied: int) -> Iterator[bytes]:
        """Yield what stands between `copied` and the part's content, with another Content-Transfer-Encoding in its header."""
        label = b"Content-Transfer-Encoding: %s\r\n" % encoding.encode()
        yield self._content[copied : part.begin]
        found = list(_ENCODING.finditer(header))
        if len(found) > 1:
            raise self._hopeless(_named(part), "it says twice how it is encoded")
        if found:
            yield from (header[: found[0].start()], label, header[found[0].end() :])
            return
        if not header.endswith(b"\r\n"):
            raise self._hopeless(_named(part), "its header has no end")
        yield header[:-2]
        if part.is_whole and _MIME_VERSION.search(header) is None:
            yield b"MIME-Version: 1.0\r\n"
        yield from (label, b"\r\n")


def _named(part: Part) -> str:
    return "the message" if part.is_whole and part.begin == 0 else f"part {part.number}"


def _base64(octets: bytes, before: bytes) -> bytes:
    """Encode; with a line end behind it if there was one before, as the last part of a message has it."""
    encoded = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    return encoded if before.endswith(b"\r\n") else encoded.removesuffix(b"\r\n")
