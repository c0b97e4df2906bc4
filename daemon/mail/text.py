"""HTML into readable text, for search and for terminals.

selectolax (Lexbor) does the reading: the stdlib's parser takes 39 s for 60 kB of `<a `. Lexbor is quadratic in nesting
(200 kB of `<div>`: 2 s), so what is nested too deep is not given to it. A link has its address behind it where its text is another;
images leave nothing, trackers with them. What a page hides from its reader (preheaders) is left out. What it says of quoted letters
and signatures is marked, as quotes.py does in plain text. Pure.
"""

import html as entities
import re
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from daemon.mail import quotes
from daemon.mail.defects import Defect, Notes

MAX_HTML_CHARACTERS: Final = 200_000  # more is layout: a newsletter's text is at its beginning
MAX_NESTED_TAGS: Final = 3000  # within one another: 0.02 s; real pages stay below a hundred

MAX_LINKS: Final = 500  # whose addresses are shown
MAX_LINK_CHARACTERS: Final = (
    80  # of an address; of longer ones the query, then the path is left out: both are for counting clicks
)
MAX_TINY: Final = (
    50  # elements of letters without size that are looked into, as their content may have one; more are shown
)

_PARAGRAPHS: Final = "p|h[1-6]|blockquote|ul|ol|dl|table|pre|hr|article|section|header|footer|form|fieldset|figure"
_LINES: Final = "div|tr|li|dt|dd|address|caption|center|legend|main|nav|aside|option"
# Breaks, marked in the source where all blanks have become spaces. They must be blanks themselves: anything else, put into a
# table between its cells, is moved out of it (HTML Living Standard, "foster parenting").
_LINE, _PARAGRAPH = "\f", "\t"
_BREAKING: Final = re.compile(rf"<(?=/?(?:(?P<p>{_PARAGRAPHS})|(?P<l>{_LINES})|(?P<cell>t[dh])|br)\b)", re.IGNORECASE)
_PRE: Final = re.compile(r"(?=</?pre\b)", re.IGNORECASE)
_SPACE: Final = re.compile(r"[ \t\n\f]+")
_RUN: Final = re.compile(r"[ \t\n\f\xa0\x01-\x04]+")
_TAG: Final = re.compile(r"<[^<>]*>")
_ANY_TAG: Final = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,20})")
_NEVER_NESTED: Final = frozenset("area br col dd dt hr img input li link meta option p td th tr wbr".split())  # noqa: SIM905 -- reads better
_INVISIBLE: Final = re.compile(r"[\xad\u034f\u200b\u2060\ufeff]")  # what newsletters hide in words and pad with
# No control may come out of an entity: not those that are marks of ours, nor a terminal's escapes.
_MARK_ENTITIES: Final = re.compile(r"&#(?:[xX]0*+[1-4](?![0-9A-Fa-f])|0*+[1-4](?![0-9]));?")
_STRAY: Final = re.compile(r"[\x05-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_QUOTING: Final = "blockquote[type=cite i],.gmail_quote,.moz-cite-prefix,.yahoo_quoted,.protonmail_quote,.tutanota_quote,.zmail_extra,#mail-editor-reference-message-container"
_SIGNING: Final = ".gmail_signature,.moz-signature,.protonmail_signature_block,#Signature,#ms-outlook-mobile-signature"
_MAY_QUOTE: Final = re.compile(r"cite|quote|_extra|signature|reference-message", re.IGNORECASE)
# `mso-hide` alone hides from Outlook only: the other half of a button that is there for everybody else.
_MAY_HIDE: Final = re.compile(r"hidden|none|opacity|font-size|max-height", re.IGNORECASE)
_HIDDEN: Final = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|(?<![\w-])opacity\s*:\s*0?\.?0*\s*(?:[;!]|$)|max-height\s*:\s*0(?:px|pt|em|%)?\s*(?:[;!]|$)",
    re.IGNORECASE,
)
_TINY: Final = re.compile(r"font-size\s*:\s*[01](?:px|pt|em|%)?\s*(?:[;!]|$)", re.IGNORECASE)
_SIZED: Final = re.compile(r"font-size\s*:", re.IGNORECASE)
_ADDRESS: Final = re.compile(
    r"(?P<site>(?:https?|ftp)://[^\s<>/?#]+)[^\s<>]*|mailto:(?P<mail>[^\s<>?]+)[^\s<>]*", re.IGNORECASE
)
_SCHEME: Final = re.compile(r"^(?:https?|ftp)://(?:www\.)?|/$", re.IGNORECASE)
_BEGINS: Final = quotes.QUOTE_BEGIN + quotes.SIGNATURE_BEGIN
_ENDS: Final = quotes.QUOTE_END + quotes.SIGNATURE_END
_UNREAD: Final = ["script", "style", "head", "noscript", "template", "svg", "object", "iframe", "textarea"]


def html_to_text(html: str, notes: Notes) -> str:
    """Return the text that a reader of the page would see, with the marks of quotes.py.

    html: scrubbed (mail/charset.py); what is over the cap is cut.
    """
    if len(html) > MAX_HTML_CHARACTERS:
        notes.add(Defect.TEXT_TRUNCATED)
        html = html[:MAX_HTML_CHARACTERS]
    if "&#" in html:
        html = _MARK_ENTITIES.sub("", html)
    marked = _BREAKING.sub(_mark, _collapsed(html))
    if html.count("<") - html.count("</") > MAX_NESTED_TAGS and _depth(html) > MAX_NESTED_TAGS:
        notes.add(Defect.HTML_TANGLED)
        text = entities.unescape(_TAG.sub("", marked))
    else:
        text = _seen(marked, notes)
    if _STRAY.search(text) is not None:
        notes.add(Defect.CHARACTERS_REPLACED)
        text = _STRAY.sub("\ufffd", text)
    text = _RUN.sub(_broken, _INVISIBLE.sub("", text)).strip()
    return text if text.strip(_ENDS + _BEGINS) else ""


def _seen(html: str, notes: Notes) -> str:
    tree = LexborHTMLParser(html)
    tree.strip_tags(_UNREAD)
    if tree.body is None:
        return ""
    if _MAY_HIDE.search(html) is not None:
        _unhide(tree)
    if "href" in html or "HREF" in html:
        _spell_links(tree, notes)
    if _MAY_QUOTE.search(html) is not None:
        for selector, begin, end in (
            (_QUOTING, quotes.QUOTE_BEGIN, quotes.QUOTE_END),
            (_SIGNING, quotes.SIGNATURE_BEGIN, quotes.SIGNATURE_END),
        ):
            for node in tree.css(selector):
                if not quotes.is_forwarded(_head(node)):
                    node.insert_before(begin)
                    node.insert_after(end)
    return tree.body.text(deep=True, separator="")


def _head(node: LexborNode) -> str:
    """Give the first words of an element, without reading it to its end: they may lie within one another."""
    for _ in range(5):
        child = node.first_child
        while child is not None and child.is_text_node and not (child.text_content or "").strip():
            child = child.next
        if child is None or child.is_text_node:
            return ((child.text_content if child else "") or "").strip()
        node = child
    return ""


def _unhide(tree: LexborHTMLParser) -> None:
    """Take out what a page holds and does not show."""
    looked_into = 0
    hidden: list[LexborNode] = []
    for node in tree.css("[style],[hidden]"):
        attributes = node.attributes
        style = attributes.get("style") or ""
        if node.tag in {"body", "html"}:
            continue
        if "hidden" in attributes or _HIDDEN.search(style) is not None:
            hidden.append(node)
        elif looked_into < MAX_TINY and _TINY.search(style) is not None:
            looked_into += 1
            # Layout tables close their gaps like this: the cells then give their own size.
            if not any(map(_gives_size, node.css("[style]"))):
                hidden.append(node)
    for node in reversed(hidden):  # the inner ones first: they are gone with the outer ones
        node.decompose()


def _gives_size(node: LexborNode) -> bool:
    style = node.attributes.get("style") or ""
    return _SIZED.search(style) is not None and _TINY.search(style) is None


def _spell_links(tree: LexborHTMLParser, notes: Notes) -> None:
    """Write the address of a link behind its text, each once."""
    known: set[str] = set()
    for node in tree.css("a[href]"):
        found = _ADDRESS.fullmatch((node.attributes.get("href") or "").strip())
        if found is None:
            continue
        address = found["mail"] or _shortened(found)
        text = "".join(node.text(deep=True).split()).casefold()
        if not text or address in known or _SCHEME.sub("", address).casefold() in text:
            continue  # of a picture, said before, or said by the text itself
        if len(known) == MAX_LINKS:
            notes.add(Defect.TEXT_TRUNCATED)
            return
        known.add(address)
        node.insert_after(f" <{address}>")


def _shortened(address: re.Match[str]) -> str:
    for shown in (address[0], re.split(r"[?#]", address[0], maxsplit=1)[0]):
        if len(shown) <= MAX_LINK_CHARACTERS:
            return shown
    return f"{address['site'][:MAX_LINK_CHARACTERS]}/\u2026"


def _depth(html: str) -> int:
    """Give how deep a page may be nested, at the most but for what a table keeps from being closed."""
    opened: dict[str, int] = {}
    depth = deepest = 0
    for is_end, name in _ANY_TAG.findall(html):
        one = name.lower()
        if one in _NEVER_NESTED:
            continue
        if not is_end:
            opened[one] = opened.get(one, 0) + 1
            depth += 1
            deepest = max(deepest, depth)
        elif opened.get(one):
            opened[one] -= 1
            depth -= 1
    return deepest


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
    before, behind = _marks(blanks)
    if _PARAGRAPH in blanks:
        return f"{before}\n\n{behind}"
    breaks = blanks.count("\n") + (_LINE in blanks)
    if not breaks and (before or behind) and len(blanks) == len(before) + len(behind):
        return before + behind  # within a word
    return before + ("\n" * min(breaks, 2) or " ") + behind


def _marks(blanks: str) -> tuple[str, str]:
    """Give the ends of quotes and signatures in a run of blanks, and the beginnings; what begins and ends in it is nothing."""
    ends: list[str] = []
    begins: list[str] = []
    for letter in blanks:
        if letter in _BEGINS:
            begins.append(letter)
        elif letter in _ENDS:
            begun = _BEGINS[_ENDS.index(letter)]
            if begun in begins:
                begins.remove(begun)
            else:
                ends.append(letter)
    return "".join(ends), "".join(begins)
