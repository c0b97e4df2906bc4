"""What a mailbox is to the house: where its maildrop and its relay are, and what the operator wants done.

Values only, as `settings` read them; nothing here connects, reads a file or knows the time. The secrets stay where they
are (`SecretSource`) until a session needs one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from daemon.wire.secret import SecretSource
from daemon.wire.stream import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePolicy:
    """When a message that is archived and proven may be deleted on the server.

    age: given with kind `age` only; counted from the first time the message was listed, not from its Date field.
    octets: given with kind `above` only; while the maildrop is larger, its oldest archived messages go.
    """

    kind: Literal["never", "after_fetch", "age", "above"] = "never"
    age: timedelta | None = None
    octets: int | None = None

    def __post_init__(self) -> None:
        """Refuse a bug of ours: an age belongs to the kind `age`, and only there; octets to `above`."""
        if (self.kind == "age") != (self.age is not None) or (self.kind == "above") != (self.octets is not None):
            raise ValueError(f"a delete policy of kind {self.kind} with age {self.age} and octets {self.octets}")

    def allows(self, first_seen_at: datetime, now: datetime) -> bool:
        """Tell whether a message first listed at `first_seen_at` may be deleted at `now`; both aware."""
        if self.kind == "age" and self.age is not None:
            return first_seen_at + self.age <= now
        return self.kind == "after_fetch"

    def __str__(self) -> str:
        """As a person would say it."""
        if self.octets is not None:
            return f"above {self.octets} octets"
        return f"after {self.age}" if self.age is not None else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """What of a maildrop is fetched that is met for the first time; the rest is marked as seen, and stays.

    since: given with kind `since` only; aware; compared with the time at which the message came (its topmost Received field,
    else its Date field).
    """

    kind: Literal["all", "new", "since"] = "all"
    since: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse a bug of ours: a time belongs to the kind `since`, and only there."""
        if (self.kind == "since") != (self.since is not None):
            raise ValueError(f"a first contact of kind {self.kind} since {self.since}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """Visit at an interval."""

    interval: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """Visit when five cron fields match, in UTC."""

    expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """At most `count` letters in any `period`."""

    count: int
    period: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Pop3:
    """Where letters come from.

    auth: `auto` or the name of a SASL mechanism or of a POP3 login command, in lower case.
    max_message_octets: larger messages stay on the server, with that reason in the ledger; with oversize `headers` their
    header section is archived.  max_octets_per_poll: the message that goes beyond it is the last of its visit.
    deletes_per_session: after so many DELEs the session is ended and a new one begun, so that they count.  None: no limit.
    language: a tag for LANG (RFC 6856).  password: None for AUTH EXTERNAL alone.
    """

    endpoint: Endpoint
    username: str
    password: SecretSource | None
    auth: str = "auto"
    poll: Every | Cron = Every(interval=timedelta(minutes=5))
    delete: DeletePolicy = DeletePolicy()
    first: First = First()
    max_message_octets: int | None = None
    oversize: Literal["skip", "headers"] = "skip"
    max_messages_per_poll: int | None = None
    max_octets_per_poll: int | None = None
    deletes_per_session: int | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dkim:
    """How letters are signed (RFC 6376): the key's file, and where its public half is in the DNS.

    is_credential: systemd keeps the file for us.
    """

    key_file: Path
    selector: str
    domain: str
    is_credential: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Smtp:
    """Where letters go.

    username and password: both None for a relay that asks for no login; password alone for AUTH EXTERNAL.  budget: all quotas hold at once.
    fallbacks: tried in their order while `endpoint` can't be used; all with the same login.  notify: what the relay is asked
    to report (RFC 3461): of success, failure, delay.  verp: each recipient is sent a letter of its own, from an address that
    names it.  suppress_bounces: an address that is said not to exist is never sent to again.
    """

    endpoint: Endpoint
    protocol: Literal["smtp", "lmtp"] = "smtp"
    fallbacks: tuple[Endpoint, ...] = ()
    username: str | None = None
    password: SecretSource | None = None
    auth: str = "auto"
    max_connections: int = 1
    budget: tuple[Quota, ...] = ()
    notify: frozenset[str] = frozenset({"failure", "delay"})
    verp: bool = False
    suppress_bounces: bool = False
    dkim: Dkim | None = None

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The relay and what it falls back to, in their order."""
        return (self.endpoint, *self.fallbacks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One mailbox: it receives, or sends, or both.

    name: as in POSTROOM_ACCOUNTS__<NAME>__…, in lower case.  address: an addr-spec, `anna@example.org`.  forward: an addr-spec
    to which each newly archived message is sent on.
    """

    name: str
    address: str
    pop3: Pop3 | None = None
    smtp: Smtp | None = None
    forward: str | None = None

    @property
    def domain(self) -> str:
        """The part of the address behind the @, for EHLO and Message-ID."""
        return self.address.rpartition("@")[2] or "localhost"
