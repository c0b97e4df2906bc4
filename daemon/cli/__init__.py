"""The command `postroom`: verbs that parse, make one call, print, and end with an exit code of sysexits.h.

A verb's module is imported when the verb is asked for, and imports what it needs when it runs: `--help` loads click and
nothing else. Whatever goes wrong is one line on stderr that begins with `postroom:`.
"""

import importlib
import sys
from typing import Any, Final, NoReturn

import click

from daemon import errors

EX_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it

# In the order of --help. Verb -> module of daemon/cli and the command in it; some verbs are words of Python.
VERBS: Final = {
    verb: {"import": "import_"}.get(verb, verb)
    for verb in (
        "run",
        "fetch",
        "send",
        "check",
        "retry",
        "status",
        "search",
        "show",
        "threads",
        "export",
        "attachment",
        "outbox",
        "suppress",
        "maildrop",
        "import",
        "hold",
        "db",
        "completion",
        "demo",
    )
}


class House(click.Group):
    """The group of all verbs, which turns the house's errors into a line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return the verbs in their own order."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's signature
        """Import a verb."""
        if cmd_name not in VERBS:
            return None
        module = VERBS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"daemon.cli.{module}"), module)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one was probably meant."""
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            from daemon.notation import closest

            meant = closest(args[0], VERBS)
            hint = f"did you mean {meant}?" if meant else f"there are {', '.join(VERBS)}."
            raise click.UsageError(f"There is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run, and leave with the exit code that the outcome has."""
        try:
            code = super().main(*args, **({"prog_name": "postroom"} | extra | {"standalone_mode": False}))
        except click.UsageError as error:
            error.show()
            code = errors.EX_USAGE
        except click.Abort:
            code = EX_INTERRUPTED
        except errors.PostroomError as error:
            from daemon.cli import output

            output.complain(error)
            code = error.exit_code
        except OSError as error:
            if error.filename is None:  # not a file that the caller named: a bug, and its traceback is wanted
                raise
            click.echo(f"postroom: {error.filename}: {error.strerror}", err=True)
            code = _exit_code_of(error)
        sys.exit(code if isinstance(code, int) else 0)


def _exit_code_of(error: OSError) -> int:
    match error:
        case FileNotFoundError() | IsADirectoryError() | NotADirectoryError():
            return errors.EX_NOINPUT
        case PermissionError():
            return errors.EX_NOPERM
        case FileExistsError():
            return errors.EX_CANTCREAT
        case _:
            return errors.EX_IOERR


def _show_version(ctx: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    if is_asked and not ctx.resilient_parsing:
        from daemon.cli import house

        click.echo(f"postroom {house.version()}")
        ctx.exit()


@click.group(cls=House, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Say which version this is.",
)
def main() -> None:
    """Fetch POP3 mailboxes into a database, and send what is dropped into its outbox.

    Settings are POSTROOM_... variables or lines of .env in this directory (see .env.example). Start with `postroom check`;
    `postroom run` is the daemon.
    """
