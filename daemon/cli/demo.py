"""`postroom demo`: see it work, on loopback, with sample mail."""

import click


@click.command()
@click.pass_context
def demo(ctx: click.Context) -> None:
    """See it work, on loopback and with sample mail.

    Starts a POP3 and an SMTP server of its own, and runs the daemon between them.

    Nothing leaves this machine, and no setting is needed or read.
    """
    from daemon.demo import show

    ctx.exit(show.main())
