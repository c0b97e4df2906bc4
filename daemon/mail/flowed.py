"""Paragraphs that were cut into lines for terminals, put together again (format=flowed, RFC 3676). Linear. Pure."""

import re
from typing import Final

_QUOTED: Final = re.compile(r"(>*)( ?)(.*)", re.DOTALL)
SIGNATURE: Final = "-- "  # never flows, RFC 3676 section 4.3


def unwrapped(text: str, *, delsp: bool) -> str:
    """Return the text with one line for each paragraph, quoted ones behind `> `. delsp: the blank before a break is not of the text.

    text: with line feeds as line ends.
    """
    if " \n" not in text and "\n " not in text and text[:1] != " ":  # nothing flows, nothing is stuffed
        return text
    lines: list[str] = []
    paragraph: list[str] = []
    depth = 0
    for line in text.split("\n"):
        found = _QUOTED.match(line)
        marks, content = ("", line) if found is None else (found[1], found[3])
        if paragraph and (len(marks) != depth or content == SIGNATURE):
            lines.append(_written(depth, paragraph))
            paragraph = []
        depth = len(marks)
        flows = content.endswith(" ") and content != SIGNATURE
        paragraph.append(content[:-1] if flows and delsp else content)
        if not flows:
            lines.append(_written(depth, paragraph))
            paragraph = []
    if paragraph:
        lines.append(_written(depth, paragraph))
    return "\n".join(lines)


def _written(depth: int, paragraph: list[str]) -> str:
    text = "".join(paragraph)
    return f"{'>' * depth} {text}" if depth else text
