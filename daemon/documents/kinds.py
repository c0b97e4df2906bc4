"""Which files have text in them that can be read, by their names and types. Pure."""

from typing import Final

_BY_ENDING: Final = {
    "pdf": "pdf",
    "docx": "docx",
    "xlsx": "xlsx",
    "pptx": "pptx",
    "odt": "odf",
    "ods": "odf",
    "odp": "odf",
}
_OOXML: Final = "application/vnd.openxmlformats-officedocument."
_BY_TYPE: Final = {
    "application/pdf": "pdf",
    f"{_OOXML}wordprocessingml.document": "docx",
    f"{_OOXML}spreadsheetml.sheet": "xlsx",
    f"{_OOXML}presentationml.presentation": "pptx",
    "application/vnd.oasis.opendocument.text": "odf",
    "application/vnd.oasis.opendocument.spreadsheet": "odf",
    "application/vnd.oasis.opendocument.presentation": "odf",
}


def kind_of(filename: str, content_type: str) -> str | None:
    """Give pdf, docx, xlsx, pptx or odf; None for all else. Many mailers send them as application/octet-stream."""
    return _BY_TYPE.get(content_type.lower()) or _BY_ENDING.get(filename.rpartition(".")[2].lower())
