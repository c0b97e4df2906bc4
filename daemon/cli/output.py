"""How the command line shows things: tables, JSON, sizes, times, progress. The only importer of rich.

On a terminal, tables are drawn and cut to its width. Elsewhere they are lines of fields divided by tabs, the first of them
the names, for `cut` and `awk`. With --json they are an array of objects, one a line, with every field. Text from mail is
never given to a terminal as it is: control characters could rewrite the screen.
"""

import dataclasses
import json
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import click

from daemon import errors

UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
COLUMN_GAP: Final = 3  # what rich puts between two columns
MIN_WIDE: Final = 24  # the wide column gives way down to this, then the other texts begin to
MIN_TEXT: Final = 8
CONTEXT: Final = 60  # characters shown of a query on either side of what is wrong with it
# Characters that turn the reading direction: they make a name read as another one.
TURNING: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --json to a listing."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON, with every field.")
    return option(command)


def is_terminal() -> bool:
    """Tell whether a person reads stdout."""
    return sys.stdout.isatty()


# --- values ---------------------------------------------------------------------------------------------------------


def plain(text: str, *, keep_lines: bool = False) -> str:
    """Make text safe for a terminal: control and direction characters become U+FFFD; line breaks a blank, or stay."""
    if keep_lines:
        return "".join(one if one in "\n\t" or not _is_control(one) else "\ufffd" for one in text.replace("\r\n", "\n"))
    return "".join("\ufffd" if _is_control(one) else one for one in " ".join(text.split()))


def _is_control(one: str) -> bool:
    return unicodedata.category(one) in {"Cc", "Cs"} or one in TURNING


def size(octets: int | None) -> str:
    """Return octets as a person says them: `812 B`, `1.4 MB`."""
    if octets is None:
        return ""
    amount = float(octets)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def moment(at: datetime | None) -> str:
    """Return a time to the second, in UTC, as the tables have it: `2026-11-23 20:14:05`."""
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def relative(at: datetime | None, now: datetime) -> str:
    """Return how long ago or how soon: `3 min ago`, `in 2 h`."""
    if at is None:
        return ""
    return f"{span(now - at)} ago" if at <= now else f"in {span(at - now)}"


def span(length: timedelta) -> str:
    """Return a length in its largest unit."""
    seconds = int(abs(length.total_seconds()))
    unit_seconds, unit = next((one for one in UNITS if seconds >= one[0]), UNITS[-1])
    return f"{seconds // unit_seconds} {unit}"


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: `1 message`, `2 messages`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


# --- JSON -----------------------------------------------------------------------------------------------------------


def fields(row: Any) -> dict[str, Any]:
    """Return a row's fields by name: of a dataclass, a named tuple, a mapping or a database row."""
    if dataclasses.is_dataclass(row):
        return {one.name: getattr(row, one.name) for one in dataclasses.fields(row)}
    if isinstance(row, Mapping):
        return dict(row)
    as_mapping: dict[str, Any] = row._asdict()
    return as_mapping


def _for_json(value: Any) -> Any:
    """Turn a value, however deep, into what JSON knows; octets are shown as text."""
    match value:
        case datetime():
            value = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
        case bytes():
            value = value.decode("utf-8", "replace")
        case Exception():
            value = str(value)
        case None | bool() | int() | float() | str():
            pass
        case list() | tuple() if not hasattr(value, "_asdict"):
            value = [_for_json(one) for one in value]
        case _:
            value = {str(name): _for_json(one) for name, one in fields(value).items()}
    return value


def dump(value: Any) -> str:
    """Return JSON on one line; times as the tables have them."""
    return json.dumps(_for_json(value), ensure_ascii=False)


def print_json(rows: Iterable[Any]) -> None:
    """Print an array with one object a line, so that it is good for `jq` and for `grep`."""
    lead = "["
    for row in rows:
        click.echo(f"{lead}\n{dump(row)}", nl=False)
        lead = ","
    click.echo("[]" if lead == "[" else "\n]")


# --- tables ---------------------------------------------------------------------------------------------------------


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    wide: str = "",
    bold: Mapping[str, Sequence[Sequence[tuple[int, int]]]] | None = None,
    none: str = "",
) -> None:
    """Print rows of text.

    right: columns of numbers.  whole: columns that are never cut, as numbers never are.  wide: the one that is cut first.
    bold: of columns, what stands out in each row on a terminal, in characters.  none: said to a person in place of an empty table.
    """
    safe = [[plain(cell) for cell in row] for row in rows]
    if not is_terminal():
        for row in [list(columns), *safe]:
            click.echo("\t".join(row))
        return
    if not rows:
        click.echo(none, err=True)
        return
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    longest = [max(cell_len(cell) for cell in cells) for cells in zip(columns, *safe, strict=True)]
    widths = _widths(columns, longest, console.width - COLUMN_GAP * (len(columns) - 1), {*right, *whole}, wide)
    for column, width in zip(columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if column in right else "left"
        table.add_column(column, justify=justify, no_wrap=True, overflow="ellipsis", width=width)
    for number, row in enumerate(safe):
        texts = [Text(cell) for cell in row]
        for column, marks in (bold or {}).items():
            for start, end in marks[number]:
                texts[columns.index(column)].stylize("bold", start, end)
        table.add_row(*texts)
    console.print(table)


def _widths(columns: Sequence[str], longest: Sequence[int], room: int, whole: Collection[str], wide: str) -> list[int]:
    """Share out a terminal's width: first the wide column gives way, then the longest texts, those of `whole` never."""
    widths = list(longest)
    if wide in columns:
        at = columns.index(wide)
        widths[at] = min(widths[at], max(MIN_WIDE, room - (sum(widths) - widths[at])))
    texts = [at for at, column in enumerate(columns) if column not in whole]
    for _ in range(sum(widths) - room):  # a column at a time, the longest text first
        at = max(texts, key=lambda one: widths[one], default=-1)
        if at < 0 or widths[at] <= MIN_TEXT:
            break
        widths[at] -= 1
    return widths


def styled(text: str, **style: Any) -> str:
    """Return text with colour where a terminal shows it; click strips it elsewhere."""
    return click.style(text, **style)


def complain(error: errors.PostroomError, subject: str = "") -> None:
    """Print what went wrong, each line on its own; `subject` says to what it happened, where the error does not."""
    lines = str(error).splitlines() or [type(error).__name__]
    for line in lines:
        before = f"{subject}: " if subject and subject not in line else ""
        click.echo(f"postroom: {before}{line}", err=True)
    if isinstance(error, errors.QueryInvalid) and error.query:
        for line in _pointed(error.query, error.at):
            click.echo(line, err=True)


def _pointed(text: str, at: int) -> tuple[str, str]:
    """Give a text, or what of it is around a place, and a line with a caret under that place."""
    first = max(0, at - CONTEXT)
    shown = "".join("\ufffd" if _is_control(one) else one for one in text[first : at + CONTEXT])
    before = shown[: at - first]
    columns = sum(
        0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF") for one in before
    )
    return f"  {shown}", f"  {' ' * columns}{styled('^', fg='red', bold=True)}"


# --- progress -------------------------------------------------------------------------------------------------------

Advance = Callable[[str, int, int], None]


@contextmanager
def progress(unit: str) -> Iterator[Advance | None]:
    """Show bars on stderr while the block runs; gives (what, done, of how many; 0: not known), or None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    tasks: dict[str, Any] = {}

    def advance(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(Text(what).plain, total=total or None)
        bars.update(tasks[what], completed=done, total=total or None)

    with bars:
        yield advance
