"""HTML into readable text, for search and for terminals.

selectolax (Lexbor) does the reading: the stdlib's parser takes 39 s for 60 kB of `<a `. Lexbor is quadratic in nesting
(200 kB of `<div>`: 2 s), so what is nested too deep is not given to it. Links and images leave nothing but their text. Pure.
"""

import html as entities
import re
from typing import Final

from selectolax.lexbor import LexborHTMLParser

from daemon.mail.defects import Defect, Notes

MAX_HTML_CHARACTERS: Final = 200_000  # more is layout: a newsletter's text is at its beginning
MAX_UNCLOSED_TAGS: Final = 10_000  # how deep it may be nested at the worst: 0.15 s

_PARAGRAPHS: Final = "p|h[1-6]|blockquote|ul|ol|dl|table|pre|hr|article|section|header|footer|form|fieldset|figure"
_LINES: Final = "div|tr|li|dt|dd|address|caption|center|legend|main|nav|aside|option"
# Breaks, marked in the source where all blanks have become spaces. They must be blanks themselves: anything else, put into a
# table between its cells, is moved out of it (HTML Living Standard, "foster parenting").
_LINE, _PARAGRAPH = "\f", "\t"
_BREAKING: Final = re.compile(rf"<(?=/?(?:(?P<p>{_PARAGRAPHS})|(?P<l>{_LINES})|(?P<cell>t[dh])|br)\b)", re.IGNORECASE)
_PRE: Final = re.compile(r"(?=</?pre\b)", re.IGNORECASE)
_SPACE: Final = re.compile(r"[ \t\n\f]+")
_RUN: Final = re.compile(r"[ \t\n\f\xa0]+")
_TAG: Final = re.compile(r"<[^<>]*>")
_INVISIBLE: Final = re.compile(r"[\xad\u034f\u200b\u2060\ufeff]")  # what newsletters hide in words and pad with
_UNREAD: Final = ["script", "style", "head", "noscript", "template", "svg", "object", "iframe", "textarea"]


def html_to_text(html: str, notes: Notes) -> str:
    """Return the text that a reader of the page would see. html: scrubbed (mail/charset.py); what is over the cap is cut."""
    if len(html) > MAX_HTML_CHARACTERS:
        notes.add(Defect.TEXT_TRUNCATED)
        html = html[:MAX_HTML_CHARACTERS]
    marked = _BREAKING.sub(_mark, _collapsed(html))
    if html.count("<") - html.count("</") > MAX_UNCLOSED_TAGS:
        notes.add(Defect.HTML_TANGLED)
        text = entities.unescape(_TAG.sub("", marked))
    else:
        tree = LexborHTMLParser(marked)
        tree.strip_tags(_UNREAD)
        text = "" if tree.body is None else tree.body.text(deep=True, separator="")
    return _RUN.sub(_broken, _INVISIBLE.sub("", text)).strip()


def _collapsed(html: str) -> str:
    """Line breaks mean nothing in HTML but within <pre>."""
    pieces = _PRE.split(html)
    return "".join(
        piece.replace("\t", " ") if piece[:4].lower() == "<pre" else _SPACE.sub(" ", piece) for piece in pieces
    )


def _mark(tag: re.Match[str]) -> str:
    if tag["p"]:
        return _PARAGRAPH + "<"
    if tag["l"]:
        return _LINE + "<"
    return " <" if tag["cell"] else "\n<"


def _broken(run: re.Match[str]) -> str:
    blanks = run[0]
    if _PARAGRAPH in blanks:
        return "\n\n"
    breaks = blanks.count("\n") + (_LINE in blanks)
    return "\n" * min(breaks, 2) or " "
