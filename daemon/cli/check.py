"""`postroom check`: try what the settings name."""

import click

from daemon import errors
from daemon.cli import completion, house, output


@click.command()
@click.argument("accounts", nargs=-1, metavar="[ACCOUNT]...", shell_complete=completion.accounts)
@output.json_option
@click.pass_context
def check(ctx: click.Context, accounts: tuple[str, ...], as_json: bool) -> None:
    """Try settings, database and servers, and change nothing.

    Logs in to every server of the named accounts (of all if none is named) and says what it found there. The exit code is 0
    only if all is well. POSTROOM_TRACE=all shows what is said.
    """
    loaded = house.settings()
    names = [one.name for one in house.accounts(loaded, accounts)]
    from daemon import app

    if loaded.trace == "all" or loaded.log_level == "debug":
        app.configure_trace(loaded)
    failed: list[errors.PostroomError] = []
    findings = []
    for finding in app.check(loaded, names):
        findings.append({"subject": finding.subject, "ok": finding.error is None, "text": finding.text})
        if finding.error is not None:
            failed.append(finding.error)
        if not as_json:
            mark = (
                output.styled("ok  ", fg="green")
                if finding.error is None
                else output.styled("FAIL", fg="red", bold=True)
            )
            click.echo(f"{mark} {output.plain(finding.subject)}: {output.plain(finding.text)}")
    if as_json:
        output.print_json(findings)
    elif not loaded.accounts:
        click.echo("     no account is set; copy .env.example to .env and fill it in")
    if failed:
        ctx.exit(failed[0].exit_code)
