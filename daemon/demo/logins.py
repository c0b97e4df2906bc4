"""The server's side of SASL PLAIN and LOGIN, as both demo servers speak it (RFC 4616, RFC 4422 section 3).

LoginUnreadable when the client cancels or says something that is no login. Never decides whether a login is right.
"""

import base64
import binascii
from typing import Final

from daemon.demo.connection import Connection

MECHANISMS: Final = ("PLAIN", "LOGIN")


class LoginUnreadable(Exception):
    """The exchange did not give a user and a password."""


def ask(connection: Connection, mechanism: str, initial: str, go_on: bytes) -> tuple[str, str]:
    """Return user and password. initial: the initial response, "" for none.  go_on: how a challenge begins on the wire."""
    if mechanism.upper() == "LOGIN":
        username = _decoded(initial) if initial else _challenge(connection, go_on, b"Username:")
        return username, _challenge(connection, go_on, b"Password:")
    parts = (_decoded(initial) if initial else _challenge(connection, go_on, b"")).split("\0")
    if len(parts) != 3:
        raise LoginUnreadable("that is not PLAIN")
    return parts[1], parts[2]


def _challenge(connection: Connection, go_on: bytes, text: bytes) -> str:
    connection.write(go_on + base64.b64encode(text) + b"\r\n")
    line = connection.read_line().decode("latin-1")
    if line == "*":
        raise LoginUnreadable("cancelled")
    return _decoded(line)


def _decoded(text: str) -> str:
    try:
        return base64.b64decode("" if text == "=" else text, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise LoginUnreadable("that is not base64 of UTF-8") from error
