"""A message's text for a person at a terminal: wrapped, what is quoted dimmed, through a pager if it is long."""

import json
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click

from daemon.cli import output

WIDEST: Final = 100  # columns of text; longer lines are hard to read
NARROWEST: Final = 40


def show(lines: Sequence[str]) -> None:
    """Print lines; where a person reads and they are more than fit, through the pager (PAGER, else less)."""
    height = shutil.get_terminal_size().lines
    if output.is_terminal() and len(lines) >= height:
        click.echo_via_pager("\n".join(lines) + "\n", color=True)
    else:
        click.echo("\n".join(lines))


def text(body: str, quoted: Any, signature: Any) -> Iterator[str]:
    """Give a text as lines: as they are, but for a terminal wrapped and with quoted text and signatures dimmed.

    quoted, signature: ranges in characters of the text, as the columns of `messages` hold them (JSON, or read).
    """
    if not output.is_terminal():
        yield from output.plain(body, keep_lines=True).rstrip().split("\n")
        return
    width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))
    dimmed, place = [*_ranges(quoted), *_ranges(signature)], 0
    for line in body.rstrip().split("\n"):
        is_dim = line.lstrip().startswith(">") or any(start <= place < end for start, end in dimmed)
        for wrapped in _wrapped(output.plain(line.expandtabs(4), keep_lines=True), width):
            yield output.styled(wrapped, dim=True) if is_dim and wrapped else wrapped
        place += len(line) + 1


def _wrapped(line: str, width: int) -> list[str]:
    """Break a line that is too long between words; what is quoted stays so, addresses stay whole."""
    if len(line) <= width:
        return [line]
    mark = line[: len(line) - len(line.lstrip("> "))][: width // 2]
    rest = line[len(mark) :]
    return textwrap.wrap(
        rest, width, initial_indent=mark, subsequent_indent=mark, break_long_words=False, break_on_hyphens=False
    ) or [line]


def _ranges(value: Any) -> list[tuple[int, int]]:
    return [(start, end) for start, end in (json.loads(value) if isinstance(value, str) else value or ())]
