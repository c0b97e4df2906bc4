"""The parts of a message with what lies in them in other ways than MIME's: files in texts (posted.py), winmail.dat (tnef.py).

They become parts below the one that holds them; a text is left without them. Linear. Pure.
"""

from typing import Final

from daemon.mail import charset, mime, posted, tnef
from daemon.mail.defects import Defect, Notes
from daemon.mail.source import Octets

MAX_UNPACKED_OCTETS: Final = 16_777_216  # of one part, held whole while it is looked through
MAX_FILES: Final = 1000  # in the texts of one message
MAX_DEPTH: Final = 10  # winmail.dat within one another

_TNEF: Final = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_ENCODED: Final = b"begin "  # both begin so, yEnc behind `=y`


def tree(raw: Octets, notes: Notes) -> mime.Part:
    """Return the parts of a message, unpacked."""
    root = mime.tree(raw, notes)
    if not root.children:
        if mime.is_body(root) or is_tnef(root):
            _Unpacker(notes).part(root)
        return root
    unpacker = _Unpacker(notes)
    for part in list(root.walk()):
        if not part.children:
            unpacker.part(part)
    return root


def is_tnef(part: mime.Part) -> bool:
    """Tell whether a part is Outlook's envelope."""
    return part.content_type in _TNEF or part.filename.lower() == "winmail.dat"


class _Unpacker:
    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._files = 0

    def part(self, part: mime.Part) -> None:
        """Unpack a leaf, if there is something in it."""
        if part.content_type == "text/plain":
            if mime.is_body(part):
                self._text(part)
        elif is_tnef(part):
            self._envelope(part, 0)

    def _text(self, part: mime.Part) -> None:
        begin, end = part.start, min(part.end, part.start + MAX_UNPACKED_OCTETS)
        # Quoted-printable writes these as they are; base64 hides them.
        if part.encoding != "base64" and part.buffer.find(_ENCODED, begin, end) < 0:
            return
        whole = self._decoded(part)
        files = posted.find(whole)
        if not files:
            return
        self._notes.add(Defect.FILE_IN_TEXT)
        rest: list[bytes] = []
        at = 0
        for number, one in enumerate(files, start=1):
            if self._files == MAX_FILES:
                self._notes.add(Defect.TOO_MANY_PARTS)
                break
            self._files += 1
            rest.append(whole[at : one.begin])
            at = one.end
            child = self._below(part, number, whole, one.start, one.stop)
            child.encoding = one.encoding
            child.filename = self._name(one.name)
            if one.crc32 is not None:
                child.parameters["crc32"] = str(one.crc32)
            if not one.is_whole:
                self._notes.add(Defect.FILE_IN_TEXT_DAMAGED)
        rest.append(whole[at:])
        part.buffer = b"".join(rest)
        part.start, part.end, part.encoding = 0, len(part.buffer), ""

    def _name(self, name: bytes) -> str:
        return mime.base_name(charset.one_line(charset.decode(name, "", self._notes), self._notes))

    def _envelope(self, part: mime.Part, depth: int) -> None:
        if part.end - part.start > 2 * MAX_UNPACKED_OCTETS:
            self._notes.add(Defect.TNEF_TOO_LARGE)
            return
        stream = self._decoded(part)
        envelope = tnef.read(stream, self._notes)
        for number, one in enumerate((*envelope.files, *envelope.texts), start=1):
            child = self._below(part, number, stream, one.start, one.end)
            child.content_type = one.content_type or "application/octet-stream"
            child.filename = mime.base_name(one.name)
            child.parameters = {"charset": one.charset} if one.charset else {}
            if one.content_id:
                child.fields["content-id"] = [one.content_id.encode()]
            child.disposition = "" if number > len(envelope.files) else "attachment"
            if child.content_type in _TNEF:
                if depth < MAX_DEPTH:
                    self._envelope(child, depth + 1)
                else:
                    self._notes.add(Defect.NESTED_TOO_DEEP)

    def _decoded(self, part: mime.Part) -> bytes:
        taken: list[bytes] = []
        left = MAX_UNPACKED_OCTETS
        for piece in mime.content(part, self._notes):
            taken.append(piece[:left])
            left -= len(taken[-1])
            if not left:
                break
        return b"".join(taken)

    @staticmethod
    def _below(part: mime.Part, number: int, buffer: bytes, start: int, end: int) -> mime.Part:
        child = mime.Part(
            number=f"{part.number}.{number}",
            fields={},
            content_type="application/octet-stream",
            parameters={},
            disposition="attachment",
            filename="",
            encoding="",
            buffer=buffer,
            begin=start,
            start=start,
            end=end,
        )
        part.children.append(child)
        return child
