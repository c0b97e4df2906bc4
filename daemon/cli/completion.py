"""`postroom completion`: what a shell needs to complete verbs, options, accounts and ids; and how these are found.

A completion that fails is silent: nobody wants an error between two keys.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from daemon import errors
from daemon.cli import house, output

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

SHELLS: Final = ("bash", "zsh", "fish")
VARIABLE: Final = "_POSTROOM_COMPLETE"  # what click looks at; its name follows from the command's
OFFERED: Final = 30  # ids, the newest


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands.

    \b
    bash: postroom completion bash > ~/.local/share/bash-completion/completions/postroom
    zsh:  postroom completion zsh > a file _postroom in a directory of $fpath
    fish: postroom completion fish > ~/.config/fish/completions/postroom.fish
    """  # noqa: D301 -- a real backspace: click leaves the lines behind it as they are
    made = get_completion_class(shell)
    assert made is not None  # noqa: S101 -- click has all three
    root = click.get_current_context().find_root()
    click.echo(made(root.command, {}, "postroom", VARIABLE).source())


def accounts(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the accounts of the settings."""
    with suppress(errors.PostroomError, OSError):
        return _offered((name, "") for name in house.settings().accounts if name.startswith(incomplete.lower()))
    return []


def messages(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the messages archived last, with their subjects where a shell shows such."""
    from daemon.store import archive

    with suppress(errors.PostroomError, OSError), house.archive() as database, database.reading() as conn:
        recent: list[Any] = archive.recent(conn, OFFERED)
        return _offered((str(one.id), one.subject or "") for one in recent if str(one.id).startswith(incomplete))
    return []


def _offered(found: Iterable[tuple[str, str]]) -> list[CompletionItem]:
    # A subject is a stranger's: what it says must not break the lines that the shell reads.
    return [CompletionItem(value, help=output.plain(text)[:60] or None) for value, text in found]
