"""The text in a document, for search: PDF (only importer of pypdf), DOCX, XLSX, PPTX, OpenDocument.

Runs in a process of its own that may die (`worker.py`): what a stranger sent may be a bomb. Layout, pictures and formulas are left
out. Raises whatever the libraries raise.
"""

import importlib.util
import io
import re
import zipfile
from collections.abc import Iterator
from typing import Final
from xml.parsers import expat

MOST_CHARACTERS: Final = 200_000  # of a document: some eighty pages; what a message may hold in its body, too
MOST_UNPACKED: Final = 100_000_000  # octets of XML that are looked through for them
_PIECE: Final = 65_536
# The files of each format that hold text, in the order in which they are read.
_MEMBERS: Final = {
    "docx": re.compile(r"word/(document|header\d*|footer\d*|footnotes|endnotes|comments)\.xml"),
    "xlsx": re.compile(r"xl/(sharedStrings|worksheets/[^/]+)\.xml"),
    "pptx": re.compile(r"ppt/(slides|notesSlides)/[^/]+\.xml"),
    "odf": re.compile(r"content\.xml"),
}
_BREAKS: Final = frozenset({"p", "h", "br", "tab", "si", "c", "s", "line-break"})
_UNFIT: Final = re.compile("[\x00\ud800-\udfff]")


def can_read(kind: str) -> bool:
    """Tell whether what a kind needs is installed."""
    return kind != "pdf" or importlib.util.find_spec("pypdf") is not None


def text_of(kind: str, octets: bytes) -> str:
    """Give the text of a document, cut at MOST_CHARACTERS; fit for any database."""
    pieces = _pdf(octets) if kind == "pdf" else _zipped(octets, _MEMBERS[kind])
    found, length = list[str](), 0
    for piece in pieces:
        found.append(piece)
        length += len(piece)
        if length > MOST_CHARACTERS:
            break
    return _UNFIT.sub("\ufffd", "".join(found))[:MOST_CHARACTERS].strip()


def _pdf(octets: bytes) -> Iterator[str]:
    import pypdf  # noqa: PLC0415 -- an extra

    for page in pypdf.PdfReader(io.BytesIO(octets)).pages:
        yield page.extract_text()
        yield "\n"


def _zipped(octets: bytes, members: re.Pattern[str]) -> Iterator[str]:
    left = MOST_UNPACKED
    with zipfile.ZipFile(io.BytesIO(octets)) as archive:
        for name in filter(members.fullmatch, archive.namelist()):
            with archive.open(name) as file:
                reading = _Reading()
                while piece := file.read(_PIECE):
                    left -= len(piece)
                    yield reading.feed(piece)
                    if left < 0:
                        return
            yield "\n"


class _Reading:
    """One XML file on its way to text."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = _refuse_entities
        self._depth = 0  # of elements that hold text
        self._is_number_of_text = False  # a cell that says which of the shared strings it shows
        self._found: list[str] = []

    def feed(self, piece: bytes) -> str:
        """Read on; give the text that was in it."""
        self._parser.Parse(piece)
        found, self._found = "".join(self._found), []
        return found

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if local == "c":
            self._is_number_of_text = attributes.get("t") == "s"
        if local == "t" or (local == "v" and not self._is_number_of_text) or name in {"text:p", "text:h"}:
            self._depth += 1

    def _end(self, name: str) -> None:
        local = name.rpartition(":")[2]
        if local == "t" or (local == "v" and not self._is_number_of_text) or name in {"text:p", "text:h"}:
            self._depth -= 1
        if local in _BREAKS:
            self._found.append("\n" if local in {"p", "h", "br"} else " ")

    def _characters(self, text: str) -> None:
        if self._depth:
            self._found.append(text)


def _refuse_entities(*_declared: object) -> None:
    raise ValueError("no document of these formats declares entities")
