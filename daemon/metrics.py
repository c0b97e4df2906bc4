"""What Prometheus is told: the house's standing, from the database, at each scrape. The only importer of prometheus_client.

Counters are the tables' own numbers (`messages`, `outbox`, `polls` and `outbox_attempts` count upwards for ever, also over a
restart and behind what is deleted), gauges the rows that are there.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from daemon import errors
from daemon.store import daemons, overview, problems
from daemon.store.database import Database

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def page(database: Database, version: str, now: datetime, troubles: Iterable[str]) -> bytes:
    """Return the page in the text format; NotFound where the library is not installed.

    version: of this daemon.  troubles: what it knows itself to suffer from.  A database that can't be asked leaves only what the
    process knows.
    """
    try:
        import prometheus_client  # noqa: PLC0415 -- an extra, loaded when somebody asks
    except ModuleNotFoundError as error:
        raise errors.NotFound("metrics need prometheus-client: pip install 'postroom[metrics]'") from error
    registry = prometheus_client.CollectorRegistry()
    registry.register(_Given([*_of_house(database, version, now, list(troubles))]))
    prometheus_client.ProcessCollector(registry=registry)
    return prometheus_client.generate_latest(registry)


class _Given:
    """Families that are known already, as a collector."""

    def __init__(self, families: list[Any]) -> None:
        self._families = families

    def collect(self) -> list[Any]:
        return self._families


def _of_house(database: Database, version: str, now: datetime, troubles: list[str]) -> Iterator[Any]:
    yield _gauge("degraded", "1 while the daemon can't do all of its work", [((), bool(troubles))])
    try:
        with database.reading() as conn:
            seen, running = overview.overview(conn, now), daemons.all(conn, now)
            totals = overview.totals(conn)
        room = problems.Room(free_octets=database.free_octets())
    except errors.StoreError:
        yield _gauge("database_up", "1 when the database answers", [((), 0)])
        return
    yield _gauge("database_up", "1 when the database answers", [((), 1)])
    yield _gauge("build_info", "1", [((version,), 1)], "version")
    found = problems.problems(seen, running, now, room=room)
    counted: dict[tuple[str, str, str], int] = {}
    for one in found:
        key = (one.what, one.account or "", "person" if one.needs_person else "itself")
        counted[key] = counted.get(key, 0) + 1
    yield _gauge("problems", "what is wrong, and who mends it", counted.items(), "what", "account", "mended_by")
    for what, total in totals.items():
        yield _filled("Counter", what, "ever, over all restarts", [((), total)])
    if room.free_octets is not None:
        yield _gauge("disk_free_octets", "where the database lies", [((), room.free_octets)])
    yield _gauge("archive_octets", "of all messages, as they came", [((), seen.octets)])
    yield _gauge("unindexed_messages", "archived and not searchable yet", [((), seen.unindexed)])
    yield _gauge("outbox_rows", "by status", (((one,), n) for one, n in seen.outbox.items()), "status")
    due = 0.0 if seen.oldest_due_at is None else (now - seen.oldest_due_at).total_seconds()
    yield _gauge("outbox_oldest_due_seconds", "for how long the oldest due row has waited", [((), due)])
    yield from _of_accounts(seen)


def _of_accounts(seen: overview.Overview) -> Iterator[Any]:
    rows = [((one.name,), one) for one in seen.accounts]
    yield _gauge("account_messages", "in the archive", ((name, one.messages) for name, one in rows), "account")
    states = [((one.name, "fetch"), one.failing_since) for one in seen.accounts]
    states += [((one.name, "send"), one.relay_failing_since) for one in seen.accounts]
    yield _gauge(
        "account_failing", "1 while it fails", ((key, since is not None) for key, since in states), "account", "direction"
    )  # fmt: skip
    stopped = ((name, one.stopped_since is not None or one.held_since is not None) for name, one in rows)
    yield _gauge("account_stopped", "1 while it waits for a person", stopped, "account")
    last = [((one.name, "fetch"), one.last_success_at) for one in seen.accounts]
    last += [((one.name, "send"), one.relay_last_success_at) for one in seen.accounts]
    yield _gauge(
        "account_last_success_timestamp_seconds",
        "when it last went well",
        ((key, at.timestamp()) for key, at in last if at is not None),
        "account",
        "direction",
    )


def _gauge(name: str, text: str, values: Iterable[tuple[tuple[str, ...], float]], *labels: str) -> Any:
    return _filled("Gauge", name, text, values, *labels)


def _filled(kind: str, name: str, text: str, values: Iterable[tuple[tuple[str, ...], float]], *labels: str) -> Any:
    from prometheus_client import core  # noqa: PLC0415 -- as above

    family = getattr(core, f"{kind}MetricFamily")(f"postroom_{name}", text, labels=labels)
    for key, value in values:
        family.add_metric(key, float(value))
    return family
