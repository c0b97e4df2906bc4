"""The named steps of a poll and of a drain: in the house they are traced, the kill tests end the process at each of them."""

from enum import StrEnum


class Step(StrEnum):
    """Of a poll, in order."""

    LEASED = "poll.leased"
    CONNECTED = "poll.connected"
    LISTED = "poll.listed"
    RETRIEVED = "poll.retrieved"
    COMMITTED = "poll.committed"
    PROVEN = "poll.proven"
    DELE_SENT = "poll.dele_sent"
    DELE_RECORDED = "poll.dele_recorded"
    QUIT = "poll.quit"
    RECORDED = "poll.recorded"


class DrainStep(StrEnum):
    """Of a drain, in order."""

    CLAIMED = "drain.claimed"
    CONNECTED = "drain.connected"
    PREPARED = "drain.prepared"
    COMMITTING = "drain.committing"
    ANSWERED = "drain.answered"
    RECORDED = "drain.recorded"
