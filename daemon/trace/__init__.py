"""Every word the house says to its log: one verb per event.

A verb fixes the wording, the level and the fields of its event, so that each stands in one place and can be looked up by
an operator. Secrets are redacted at the source (`wire/transcript.py`), and once more here by type. Bodies of mail never
come here: protocol lines carry their octet counts instead.

`configure` is called once, by the composition root; before it, events go nowhere.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TextIO

from daemon import errors
from daemon.trace import log
from daemon.wire.transcript import Line

_log: Any = log.silent()


def configure(*, log_format: str = "json", level: str = "info", stream: TextIO | None = None) -> None:
    """Send events to `stream` (stderr), as `json` lines or for a `console`. `level`: debug, info, warning or error."""
    global _log  # noqa: PLW0603 -- bound once here, and not at each event: what is below the level costs next to nothing
    _log = log.bound(log_format=log_format, level=level, stream=stream)


# --- the daemon's life ----------------------------------------------------------------------------------------------


def started(*, version: str, database: str, accounts: int) -> None:
    """Say that the house is open."""
    _log.info("postroom started", version=version, database=database, accounts=accounts)


def ready() -> None:
    """Say that the database is migrated and the clock runs."""
    _log.info("postroom ready")


def stopping(*, signal: str) -> None:
    """Say that no new work begins; sessions are being ended."""
    _log.info("postroom stopping", signal=signal)


def reloaded(
    *, added: Iterable[str], removed: Iterable[str], changed: Iterable[str], unchanged: int, restart_for: Iterable[str]
) -> None:
    """Say that the settings were read again, and for which of them the daemon must be started anew."""
    _log.info(
        "settings reloaded",
        added=list(added),
        removed=list(removed),
        changed=list(changed),
        unchanged=unchanged,
        restart_for=list(restart_for) or None,
    )


def reload_refused(*, error: errors.PostroomError) -> None:
    """Report settings that can't be used; those from before stay in force."""
    _log.error("settings not reloaded", error=error)


def clock_set(*, seconds: float) -> None:
    """Say that the wall clock was set while the house ran. seconds: forward, or back below zero."""
    _log.warning("clock set", seconds=seconds)


def ping_failed(*, reason: object) -> None:
    """Say that the dead man's switch could not be told that all is well."""
    _log.warning("ping failed", reason=str(reason))


def start_postponed(*, error: errors.PostroomError, seconds: float) -> None:
    """Report a database that does not answer yet; the start is tried again."""
    _log.warning("start postponed", error=error, seconds=seconds)


def sessions_aborted(*, sessions: int) -> None:
    """Say that sessions outlived the grace period and their sockets were closed."""
    _log.warning("sessions aborted", sessions=sessions)


def stopped(*, clean: bool) -> None:
    """Say that the house is closed."""
    _log.info("postroom stopped", clean=clean)


def migrated(*, before: str | None, after: str | None) -> None:
    """Say that the schema was brought to a newer revision."""
    _log.info("database migrated", before=before, after=after)


def job_failed(*, job: str, error: errors.PostroomError) -> None:
    """Report a fault with a name: the job ends, and comes back on its schedule."""
    _log.warning("job failed", job=job, error=error)


def job_crashed(*, job: str) -> None:
    """Report a bug of ours; called inside `except`, so that the traceback is in the event."""
    _log.error("job crashed", job=job, exc_info=True)


def clock_event(*, job: str, what: str) -> None:
    """Report a tick that the clock missed or could not start."""
    _log.warning("tick lost", job=job, what=what)


def job_overdue(*, job: str, seconds: float, silent: float) -> None:
    """Report a job that outlived its time budget, or does not get on; its session is being closed."""
    _log.error("job overdue", job=job, seconds=round(seconds, 1), silent=round(silent, 1))


def step(name: str, *, account: str) -> None:
    """Mark one named step of a poll or drain; the kill tests stop the daemon at each of them."""
    _log.debug("step", step=name, account=account)


# --- protocol lines -------------------------------------------------------------------------------------------------


def line_sink(*, mode: str, account: str, session: str) -> Callable[[Line], None] | None:
    """Where a transcript's lines go as they happen: the log when `mode` is `all`, else nowhere."""
    if mode != "all":
        return None

    def sink(line: Line) -> None:
        _log.info(
            "line", direction=line.direction, shown=line.shown, octets=line.octets, account=account, session=session
        )

    return sink


def session_failed(*, account: str, session: str, transcript: str) -> None:
    """Log the redacted transcript of a session that failed (POSTROOM_TRACE=failures)."""
    _log.warning("session transcript", account=account, session=session, transcript=transcript)


# --- poll -----------------------------------------------------------------------------------------------------------


def poll_finished(
    *,
    account: str,
    session: str,
    listed: int,
    fetched: int,
    new: int,
    octets: int,
    skipped: int,
    deleted: int,
    seconds: float,
) -> None:
    """Write the canonical line of a visit that ended well."""
    _log.info(
        "poll finished",
        account=account,
        session=session,
        listed=listed,
        fetched=fetched,
        new=new,
        octets=octets,
        skipped=skipped,
        deleted=deleted,
        seconds=round(seconds, 3),
    )


def poll_failed(
    *, account: str, session: str | None, error: errors.PostroomError, fetched: int, next_poll_at: datetime | None
) -> None:
    """Write the canonical line of a visit that did not end well; what it archived stays archived."""
    _log.warning(
        "poll failed",
        account=account,
        session=session,
        error=error,
        permanent=error.permanent,
        fetched=fetched,
        next_poll_at=next_poll_at,
    )


def polling_stopped(*, account: str, error: errors.PostroomError, advice: str) -> None:
    """Say that an account is not visited any more, and what ends that."""
    _log.error("polling stopped", account=account, error=error, advice=advice)


def polling_resumed(*, account: str, stopped_since: datetime) -> None:
    """Say that the settings or the password of a stopped account have changed."""
    _log.info("polling resumed", account=account, reason="its settings changed", stopped_since=stopped_since)


def login_delayed(*, account: str, seconds: int, until: datetime) -> None:
    """Say that a visit waits, for its server wants pauses between logins (LOGIN-DELAY)."""
    _log.info("login delayed", account=account, login_delay=seconds, until=until)


def expiry_noticed(*, account: str, concern: str) -> None:
    """Warn that the server deletes mail by itself (EXPIRE) in a way that the settings do not want."""
    _log.warning("server deletes mail", account=account, concern=concern)


def left_without_quit(*, account: str, messages: int) -> None:
    """Say that a session was cut, for at QUIT the server would have deleted messages that are not in the archive (EXPIRE 0)."""
    _log.warning("left without QUIT", account=account, messages=messages)


def message_skipped(*, account: str, uidl: str, reason: str) -> None:
    """Say that a message was left on the server, and why."""
    _log.info("message skipped", account=account, uidl=uidl, reason=reason)


def first_contact(*, account: str, seen: int, listed: int, kind: str) -> None:
    """Say that a maildrop was met for the first time, and how much of it is left alone."""
    _log.info("first contact", account=account, seen=seen, listed=listed, first=kind)


def first_contact_blind(*, account: str, messages: int, reason: str) -> None:
    """Say that messages are fetched which FIRST would leave, since it can't be told which they are."""
    _log.warning("first contact can't tell messages apart", account=account, messages=messages, reason=reason)


def proof_missing(*, account: str, messages: int) -> None:
    """Report archived messages that do not read back equal: nothing is deleted, RSET was sent."""
    _log.error("proof missing", account=account, messages=messages)


def uidls_changed(*, account: str, messages: int) -> None:
    """Report a server that gave its messages new UIDLs; so many were recognised by their header sections."""
    _log.warning("uidls changed", account=account, messages=messages)


# --- drain ----------------------------------------------------------------------------------------------------------


def row_finished(*, account: str, outbox: int, status: str, attempt: int, recipients: int, session: str) -> None:
    """Tell how one attempt at an outbox row ended; those that went well are counted by `drain_finished`."""
    say = _log.debug if status == "sent" else _log.info
    say(
        "row finished",
        account=account,
        outbox=outbox,
        status=status,
        attempt=attempt,
        recipients=recipients,
        session=session,
    )


def row_refused(*, outbox: int, error: errors.PostroomError) -> None:
    """Report a row that can't be made a letter: it is failed with its reason, all others go on."""
    _log.warning("row refused", outbox=outbox, error=error)


def row_in_doubt(*, account: str, outbox: int, address: str, reason: str) -> None:
    """Report the one ambiguous instant: the letter was given, the reply not seen."""
    _log.warning("row in doubt", account=account, outbox=outbox, address=address, reason=reason)


def verdict_not_recorded(*, outbox: int, error: errors.PostroomError, tries_left: int) -> None:
    """Report a verdict that could not be written; with no try left the row will show as in doubt."""
    _log.error("verdict not recorded", outbox=outbox, error=error, tries_left=tries_left)


def drain_finished(
    *, account: str, session: str | None, sent: int, deferred: int, failed: int, in_doubt: int, seconds: float
) -> None:
    """Write the canonical line of a visit of the outbox."""
    _log.info(
        "drain finished",
        account=account,
        session=session,
        sent=sent,
        deferred=deferred,
        failed=failed,
        in_doubt=in_doubt,
        seconds=round(seconds, 3),
    )


def relay_failed(
    *, account: str, session: str | None, error: errors.PostroomError, rows: int, paused_until: datetime
) -> None:
    """Report a relay that can't be used now: its rows wait, none is bounced."""
    _log.warning("relay failed", account=account, session=session, error=error, rows=rows, paused_until=paused_until)


# --- index, match, sweep ---------------------------------------------------------------------------------------------------


def indexed(*, messages: int, with_defects: int, seconds: float) -> None:
    """Write the canonical line of an index run that found work."""
    _log.info("index finished", messages=messages, with_defects=with_defects, seconds=round(seconds, 3))


def message_indexed_with_defects(*, message: int, defects: tuple[str, ...]) -> None:
    """Name the repairs the parser had to make."""
    _log.info("message has defects", message=message, defects=list(defects))


def reported(*, outbox: int, account: str | None, address: str, status: str, message: int) -> None:
    """Tell what became of a letter, as a message that came back says."""
    _log.info("reported", outbox=outbox, account=account, address=address, status=status, message=message)


def report_unusable(*, message: int, error: errors.PostroomError) -> None:
    """Report a message whose words the database does not take; it is not looked at again."""
    _log.warning("report unusable", message=message, error=error)


def suppressed(*, address: str) -> None:
    """Say that an address is not sent to any more, for it bounced for good (SUPPRESS_BOUNCES)."""
    _log.warning("address suppressed", address=address)


def matched(*, messages: int, changed: int, postponed: int) -> None:
    """Write the canonical line of a run over what may have come back."""
    _log.info("match finished", messages=messages, changed=changed, postponed=postponed)


def extracted(*, messages: int, documents: int, unread: int) -> None:
    """Write the canonical line of a run over attachments."""
    _log.info("attachments read", messages=messages, documents=documents, unread=unread)


def attachment_unread(*, message: int, part: str, reason: str) -> None:
    """Name an attachment whose text could not be had."""
    _log.info("attachment not read", message=message, part=part, reason=reason)


def dictionary_trained(*, letters: int, octets: int) -> None:
    """Say that small letters are compressed with a new dictionary from now on."""
    _log.info("dictionary trained", letters=letters, octets=octets)


def packed(*, parts: int, before: int, after: int, seconds: float) -> None:
    """Say what was stored anew. before, after: octets as stored."""
    _log.info("octets packed", parts=parts, before=before, after=after, seconds=round(seconds, 3))


def swept(*, requeued: int, in_doubt: int, expired: int, interrupted_polls: int, forgotten_polls: int) -> None:
    """Say what a sweep put right: claims of dead daemons, expired rows, visits that are kept no longer."""
    _log.info(
        "sweep finished",
        requeued=requeued,
        in_doubt=in_doubt,
        expired=expired,
        interrupted_polls=interrupted_polls,
        forgotten_polls=forgotten_polls,
    )
