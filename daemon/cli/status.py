"""`postroom status`: how it stands, from the database alone."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from daemon import errors
from daemon.cli import house, output

if TYPE_CHECKING:
    from daemon.settings import Settings
    from daemon.store.daemons import DaemonLine
    from daemon.store.overview import AccountLine, Overview, RelayLine
    from daemon.store.problems import Problem
    from daemon.store.sizes import Sizes


@click.command()
@output.json_option
def status(as_json: bool) -> None:
    """Show what is wrong and what to do, then how it stands.

    Accounts, archive and outbox.

    Asks the database alone: no server is spoken to. The exit code is for monitors: 0 all is well, 75 something fails and is
    tried again by itself, 69 something waits for a person.
    """
    from daemon.store import daemons, overview, problems, sizes, upgrade

    loaded, now = house.settings(), datetime.now(UTC)
    with house.archive(loaded) as database:
        with database.reading() as conn:
            seen, running = overview.overview(conn, now), daemons.all(conn, now)
            stored = sizes.sizes(conn)
        room = problems.Room(free_octets=database.free_octets(), is_held=database.is_held())
        senders = [name for name, one in loaded.accounts.items() if one.smtp is not None] if loaded.accounts else None
        found = problems.problems(seen, running, now, room=room, senders=senders)
        more = {"free_octets": room.free_octets, "schema": upgrade.head(), "version": house.version()}
        if as_json:
            click.echo(
                output.dump({"problems": found, **output.fields(seen), "daemons": running, "storage": stored, **more})
            )
        else:
            lines = [
                *_problems(found, now),
                f"database  {database.shown}, schema {upgrade.head()}, {_room(room.free_octets)}",
                *_daemons(running, now),
                *_lines(seen, stored, loaded, now),
            ]
            click.echo("\n".join(lines))
    if found:
        sys.exit(errors.EX_UNAVAILABLE if found[0].needs_person else errors.EX_TEMPFAIL)


def _problems(found: list[Problem], now: datetime) -> list[str]:
    if not found:
        return [f"{output.styled('all is well', fg='green', bold=True)}"]
    lines = []
    for one in found:
        name = " ".join(filter(None, (one.account, one.what)))
        since = f" for {output.span(now - one.since)}" if one.since else ""
        colour = "red" if one.needs_person else "yellow"
        lines.append(f"{output.styled('problem', fg=colour, bold=True)}   {name}{since}: {output.plain(one.why)}")
        lines.append(f"          do: {output.plain(one.advice)}")
    return lines


def _room(free_octets: int | None) -> str:
    return "on a server" if free_octets is None else f"{output.size(free_octets)} free"


def _daemons(running: list[DaemonLine], now: datetime) -> list[str]:
    mine = house.version()
    lines = []
    for one in running:
        version = f"version {one.version}" + (f", {mine} is installed: restart it" if one.version != mine else "")
        state = {"alive": "alive", "silent": "silent", "dead": "dead"}[one.state]
        shown = output.styled(state, fg="green" if one.state == "alive" else "red", bold=one.state != "alive")
        lines.append(
            f"daemon    {shown}, process {one.pid} on {output.plain(one.host)}, {version}, up for"
            f" {output.span(now - one.started_at)}, heard of {output.relative(one.seen_at, now)}"
        )
    return lines or [f"daemon    none runs; version {mine} is installed"]


def _stored(stored: Sizes) -> str:
    about = "about " if stored.is_estimate else ""
    text = f"{output.size(stored.raw_octets)} of mail in {about}{output.size(stored.stored_octets)}"
    if stored.shared_octets:
        text += f", {output.size(stored.shared_octets)} of it shared, in {output.size(stored.shared_stored_octets)}"
    unused = f" ({output.size(stored.unused_octets)} unused)" if stored.unused_octets else ""
    return f"{text}; database {output.size(stored.database_octets)}{unused}"


def _lines(seen: Overview, stored: Sizes, loaded: Settings, now: datetime) -> list[str]:
    archive = f"{output.count(seen.messages, 'message')}, {output.size(seen.octets)}"
    archive += f", {seen.unindexed:,} not indexed yet" if seen.unindexed else ""
    archive += f", {seen.with_defects:,} with defects" if seen.with_defects else ""
    archive += f", {seen.held:,} on hold" if seen.holds else ""
    outbox = (
        ", ".join(f"{number:,} {status.replace('_', ' ')}" for status, number in seen.outbox.items() if number)
        or "empty"
    )
    if seen.oldest_due_at is not None and seen.oldest_due_at < now:
        outbox += f"; the oldest is due since {output.span(now - seen.oldest_due_at)}"
    lines = [f"archive   {archive}", f"stored    {_stored(stored)}", f"outbox    {outbox}"]
    if not seen.accounts:
        lines.append("accounts  none; copy .env.example to .env and fill it in")
    width = max((len(one.name) for one in seen.accounts), default=0)
    for one in seen.accounts:
        set_up = loaded.accounts.get(one.name)
        lines.append(
            f"account   {one.name:<{width}}  {output.plain(one.address)}, {output.count(one.messages, 'message')}"
        )
        if set_up is None and loaded.accounts:
            lines[-1] += ", no longer in the settings"
            continue
        # A reader of the archive has no settings of his own: he is told what the database knows.
        fetches = set_up.pop3 is not None if set_up else one.last_success_at or one.failing_since
        sends = set_up.smtp is not None if set_up else one.relay_last_success_at or one.relay_failing_since
        said = [_maildrop(one, now)] if fetches else []
        said += [_relay(one, now)] if sends else []
        # Where another relay stands in, nothing fails; somebody has to mend this one all the same.
        said += [_broken(relay, now) for relay in one.relays] if sends and one.relay_failing_since is None else []
        lines += [f"          {'':<{width}}  {text}" for text in said]
    return lines


def _maildrop(one: AccountLine, now: datetime) -> str:
    soon = (
        f"; next visit {output.relative(one.next_poll_at, now)}" if one.next_poll_at and one.next_poll_at > now else ""
    )
    reason = output.plain(one.last_error or "no reason given")
    if one.stopped_since is not None:
        stopped = output.styled("stopped", fg="red", bold=True)
        return f"fetch: {stopped} for {output.span(now - one.stopped_since)}: {reason}"
    if one.failing_since is None and one.failures:
        return f"fetch: waiting: {reason}{soon}"
    if one.held_since is not None:
        held = output.styled("held", fg="red", bold=True)
        return f"fetch: {held} for {output.span(now - one.held_since)}: {output.plain(one.held_reason or '')}{soon}"
    if one.failing_since is not None:
        failing = output.styled("failing", fg="red", bold=True)
        return f"fetch: {failing} for {output.span(now - one.failing_since)}: {reason}{soon}"
    if one.last_success_at is None:
        return f"fetch: never yet{soon}"
    return f"fetch: {output.styled('ok', fg='green')} {output.relative(one.last_success_at, now)}{soon}"


def _relay(one: AccountLine, now: datetime) -> str:
    if one.relay_failing_since is not None:
        paused = one.relay_paused_until
        soon = f"; next try {output.relative(paused, now)}" if paused and paused > now else ""
        failing = output.styled("failing", fg="red", bold=True)
        return f"send:  {failing} for {output.span(now - one.relay_failing_since)}: {output.plain(one.relay_last_error or 'no reason given')}{soon}"
    if one.relay_last_success_at is None:
        return "send:  never yet"
    return f"send:  {output.styled('ok', fg='green')} {output.relative(one.relay_last_success_at, now)}"


def _broken(one: RelayLine, now: datetime) -> str:
    soon = f"; next try {output.relative(one.paused_until, now)}" if one.paused_until and one.paused_until > now else ""
    failing = output.styled("failing", fg="red", bold=True)
    reason = output.plain(one.last_error or "no reason given")
    return f"       {one.relay} {failing} for {output.span(now - one.failing_since)}: {reason}{soon}"
