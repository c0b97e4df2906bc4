"""The named steps of a poll."""

from enum import StrEnum


class Step(StrEnum):
    """The named steps of a poll, in order; the kill tests end the process at each of them."""

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
