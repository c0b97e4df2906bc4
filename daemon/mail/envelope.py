"""The envelope of a letter: who it comes from and whom it goes to, whatever its header says (RFC 5321 section 2.3.1)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What MAIL and RCPT say.

    sender: an addr-spec, or "" for the null reverse-path of a bounce (RFC 5321 section 4.5.5).  recipients: addr-specs,
    without angle brackets, in the order in which they are named to the relay.
    """

    sender: str
    recipients: tuple[str, ...]
