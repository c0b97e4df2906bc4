"""A relay made of aiosmtpd, in this process: other people's reading of RFC 5321, with neither PIPELINING nor CHUNKING.

It takes who tests/servers/postfix.py takes, and keeps what it is given.
"""

from typing import Any, Final, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.servers import child
from tests.servers.postfix import DOMAINS, LATER_LOCAL, REFUSED_LOCAL, SIZE_LIMIT_OCTETS, Delivered

TAKEN: Final = "250 2.0.0 taken"


class _Handler:
    """What it says to recipients and letters."""

    def __init__(self) -> None:
        self.delivered: list[Delivered] = []

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's name for it
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        local, _, domain = address.rpartition("@")
        if local == REFUSED_LOCAL:
            return "550 5.1.1 no such person here"
        if local == LATER_LOCAL:
            return "450 4.2.0 come back later"
        if domain not in DOMAINS:
            return "550 5.7.1 nothing leaves this machine"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 taken"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.original_content
        assert content is not None
        self.delivered += [
            Delivered(recipient=to, sender=envelope.mail_from or "", octets=content) for to in envelope.rcpt_tos
        ]
        return TAKEN


class AiosmtpdRelay:
    """One running relay; use as a context manager."""

    def __init__(self) -> None:
        """Nothing listens before `with`."""
        self._handler = _Handler()
        options: dict[str, Any] = {"enable_SMTPUTF8": True, "data_size_limit": SIZE_LIMIT_OCTETS}
        (self.port,) = child.free_ports(1)
        self._controller = Controller(self._handler, hostname="127.0.0.1", port=self.port, **options)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def delivered(self, _count: int, *, to: str = "") -> list[Delivered]:
        """Return the letters for recipients that contain `to`; what was answered is here."""
        found = [one for one in self._handler.delivered if to in one.recipient]
        return sorted(found, key=lambda one: (one.recipient, one.octets))
