"""The redacted record of one session: what was said and heard, line by line, for people.

Secrets never reach it: commands show themselves without them (`PASS ***`), and as a second defence every shown text is
scrubbed of the guarded secrets and of their base64 forms, in case a server echoes them. Bodies of mail are counted,
never shown. Recording is cheap (a tuple in a ring); cleaning is done when a line is handed out, to the sink or as text.
No I/O, no clock. Used by the thread that holds the session.
"""

import base64
import secrets
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from daemon.wire.secret import SHOWN, Secret

SHOWN_CHARACTERS: Final = 500  # characters of a line that are shown: enough for any reply meant for people
KEPT_LINES: Final = 500  # lines kept for the record of a failed session: its end, where the failure is
SHORTEST_SCRUBBED: Final = 3  # characters; a secret shorter than that would blot out half the transcript


class Line(NamedTuple):
    """One line of a session, already clean.

    direction: `>` we said it, `<` we heard it, `*` we note it.  octets: what went over the wire, content included.
    """

    direction: str
    shown: str
    octets: int


def new_session_id() -> str:
    """Return 12 random hexadecimal digits."""
    return secrets.token_hex(6)


class Transcript:
    """A ring of the last lines of a session."""

    def __init__(
        self, session: str, account: str, sink: Callable[[Line], None] | None = None, keep: int = KEPT_LINES
    ) -> None:
        """`sink`: told every line as it happens, clean.  `keep`: how many of the last lines `text` still has."""
        self.session = session
        self.account = account
        self._sink = sink
        self._ring: deque[tuple[str, str, int]] = deque(maxlen=keep)
        self._recorded = 0
        self._scrubbed: tuple[str, ...] = ()

    def guard(self, secret: Secret, *, username: str = "") -> None:
        """Scrub this secret from everything shown, also from what is already kept, whether plain or in base64.

        username: given, base64 of SASL PLAIN's NUL username NUL secret goes whole (RFC 4616), the name with it.
        """
        forms = set(self._scrubbed)
        for octets in {secret.reveal().encode(charset, "replace") for charset in ("utf-8", "latin-1")}:
            plain = b"\0%b\0%b" % (username.encode("utf-8", "replace"), octets)
            forms |= {secret.reveal(), octets.decode("latin-1"), base64.b64encode(plain).decode().rstrip("=")}
            for before in range(3):  # base64 of any text that has the secret in it, less the digits that it shares
                encoded = base64.b64encode(b"\0" * before + octets).decode()
                forms.add(encoded[-(-before * 4 // 3) : (before + len(octets)) * 4 // 3])
        # Longest first: a secret that contains another must go whole.
        self._scrubbed = tuple(sorted((one for one in forms if len(one) >= SHORTEST_SCRUBBED), key=len, reverse=True))

    def said(self, shown: str, octets: int) -> None:
        """Record what we sent."""
        self._record(">", shown, octets)

    def heard(self, shown: str, octets: int) -> None:
        """Record what the peer sent."""
        self._record("<", shown, octets)

    def noted(self, text: str) -> None:
        """Record what happened beside the lines: connected, TLS, gave up."""
        self._record("*", text, 0)

    def _record(self, direction: str, shown: str, octets: int) -> None:
        if len(shown) > SHOWN_CHARACTERS:  # scrubbed before it is cut, lest half a secret stays at the cut
            shown = self._clean(shown)
        self._ring.append((direction, shown, octets))
        self._recorded += 1
        if self._sink is not None:
            self._sink(Line(direction, self._clean(shown), octets))

    def scrub(self, text: str) -> str:
        """Return a text of the peer's without the guarded secrets, for whoever quotes it elsewhere than here."""
        for secret in self._scrubbed:
            if secret in text:
                text = text.replace(secret, SHOWN)
        return text

    def _clean(self, shown: str) -> str:
        shown = self.scrub(shown)
        if not shown.isprintable():
            shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in shown[: SHOWN_CHARACTERS + 1])
        return shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[: SHOWN_CHARACTERS - 1]}…"

    def lines(self) -> list[Line]:
        """Return the kept lines, clean, oldest first."""
        return [Line(direction, self._clean(shown), octets) for direction, shown, octets in self._ring]

    def text(self, *, last: int = KEPT_LINES) -> str:
        """Return the kept lines as text, `> USER anna` each; says how many earlier ones are not kept. last: at most so many."""
        lines = self.lines()[-last:]
        dropped = self._recorded - len(lines)
        head = [f"* {dropped} earlier lines are not kept"] if dropped else []
        return "\n".join([*head, *(f"{line.direction} {line.shown}" for line in lines)])
