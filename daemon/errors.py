"""Everything that can go wrong, as one tree.

The type says what happened, the attributes hold the facts, and two class attributes say what to do about it:
`permanent` (trying again the same way is useless) and `exit_code` (sysexits.h, for the command line). Libraries' own
errors are translated once, where the library is imported. `OutOfState` is a bug of ours and is never caught.
"""

from typing import Final

EX_USAGE: Final = 64
EX_DATAERR: Final = 65
EX_NOINPUT: Final = 66
EX_UNAVAILABLE: Final = 69
EX_SOFTWARE: Final = 70
EX_CANTCREAT: Final = 73
EX_IOERR: Final = 74
EX_TEMPFAIL: Final = 75
EX_PROTOCOL: Final = 76
EX_NOPERM: Final = 77
EX_CONFIG: Final = 78


class PostroomError(Exception):
    """Root of the tree: something went wrong that the house knows how to name."""

    permanent: bool = False
    exit_code: int = EX_SOFTWARE

    def __init__(self, message: str = "") -> None:
        """`message`: one line for a person; the class's first docstring line where empty."""
        super().__init__(message or (type(self).__doc__ or type(self).__name__).splitlines()[0].rstrip("."))


class OutOfState(PostroomError):
    """A command was given in a state that does not allow it: a bug of ours, never the server's."""

    permanent = True


# --- what the operator or the caller said ---------------------------------------------------------------------------


class SettingsInvalid(PostroomError):
    """The settings have mistakes; `mistakes` holds one line for each, naming the variable and what it takes."""

    permanent = True
    exit_code = EX_CONFIG

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        """`mistakes`: at least one line."""
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class SecretUnavailable(PostroomError):
    """A password file can't be read or a password command failed."""

    exit_code = EX_CONFIG


class InputInvalid(PostroomError):
    """A value given by the caller (an address, a query, a row) can't be used; the message says why."""

    permanent = True
    exit_code = EX_DATAERR


class QueryInvalid(InputInvalid):
    """A search can't be read; `query` is its text, `at` the place of what is wrong, counted from 0."""

    def __init__(self, message: str = "", *, query: str = "", at: int = 0) -> None:
        """`message`: what is wrong, on one line."""
        super().__init__(f"query: {message}")
        self.query = query
        self.at = at


class NotFound(PostroomError):
    """What was asked for is not there."""

    permanent = True
    exit_code = EX_NOINPUT


class Busy(PostroomError):
    """Another process of this house is at the same work; try again when it has finished."""

    exit_code = EX_TEMPFAIL


class Stopped(PostroomError):
    """The daemon is stopping, or a job used up its time budget; work goes on at the next visit."""

    exit_code = EX_TEMPFAIL


# --- the network (wire) ---------------------------------------------------------------------------------------------


class WireError(PostroomError):
    """The connection can't be made or can't be trusted."""

    exit_code = EX_UNAVAILABLE


class Unreachable(WireError):
    """No address of the host answered."""


class ConnectionLost(WireError):
    """The peer closed or reset the connection in the middle of something."""


class TimedOut(WireError):
    """The peer was silent for longer than the allowed time, or the session outlived its deadline."""


class TlsFailed(WireError):
    """TLS could not be set up: no common version, a broken handshake, or the peer refused to start it."""


class CertificateRejected(TlsFailed):
    """The certificate does not verify against the CA, or not against the pinned fingerprint."""

    permanent = True


class PlaintextInjected(TlsFailed):
    """Octets were already waiting behind the reply to STLS/STARTTLS: somebody wrote into the line (CVE-2011-0411)."""


class ProtocolViolation(WireError):
    """The peer said something the protocol does not allow; the session can't go on."""

    exit_code = EX_PROTOCOL


class TooLong(ProtocolViolation):
    """A line, a reply or a message outgrew its cap."""


class AuthFailed(WireError):
    """The server refused the credentials."""

    permanent = True
    exit_code = EX_NOPERM

    def __init__(self, message: str = "", *, is_certain: bool = True) -> None:
        """`is_certain`: False for a POP3 server that gave no response code, where it may be a passing fault."""
        super().__init__(message)
        self.is_certain = is_certain


class AuthUnavailable(WireError):
    """The server offers no authentication that we may use on this connection (a plaintext one needs TLS)."""

    permanent = True
    exit_code = EX_NOPERM


# --- POP3 -----------------------------------------------------------------------------------------------------------


class Pop3Error(PostroomError):
    """The POP3 server answered -ERR; `reply` is its line."""

    exit_code = EX_UNAVAILABLE

    def __init__(self, message: str = "", *, reply: str = "") -> None:
        """`reply`: the server's line, for the record."""
        super().__init__(message or reply)
        self.reply = reply


class CommandRefused(Pop3Error):
    """-ERR to a command; the session goes on."""


class MaildropLocked(Pop3Error):
    """Another client holds the maildrop ([IN-USE], RFC 2449 section 8.1.2)."""

    exit_code = EX_TEMPFAIL


class LoginTooSoon(Pop3Error):
    """The server wants a longer pause between logins ([LOGIN-DELAY], RFC 2449 section 8.1.1)."""

    exit_code = EX_TEMPFAIL

    def __init__(self, message: str = "", *, reply: str = "", seconds: int | None = None) -> None:
        """`seconds`: that it asks for, where CAPA said so before the login."""
        super().__init__(message, reply=reply)
        self.seconds = seconds


class ServerTrouble(Pop3Error):
    """A transient fault of the server ([SYS/TEMP], RFC 3206)."""

    exit_code = EX_TEMPFAIL


class ServerBroken(Pop3Error):
    """A fault that needs a person ([SYS/PERM], RFC 3206)."""

    permanent = True


class PollingStopped(PostroomError):
    """Polling of this account is stopped until its settings change."""

    permanent = True
    exit_code = EX_NOPERM


class MaildropChanged(Pop3Error):
    """Nearly none of the messages that were in the maildrop are listed, and others are; the account is held."""

    exit_code = EX_TEMPFAIL


# --- SMTP -----------------------------------------------------------------------------------------------------------


class SmtpError(PostroomError):
    """The SMTP server refused something that is not about one message; `code` is its reply code, 0 if there was none."""

    exit_code = EX_UNAVAILABLE

    def __init__(self, message: str = "", *, code: int = 0) -> None:
        """`code`: RFC 5321 reply code."""
        super().__init__(message)
        self.code = code


class RelayRefused(SmtpError):
    """The relay does not talk to us now: refused at the greeting, at EHLO, or 421 (RFC 5321 section 3.8)."""

    exit_code = EX_TEMPFAIL


# --- the database ---------------------------------------------------------------------------------------------------


class StoreError(PostroomError):
    """The database failed. `state`: what the house is in meanwhile, for its status line."""

    exit_code = EX_IOERR
    state = "database failing"


class DatabaseBusy(StoreError):
    """Another process held the database for longer than we wait."""

    exit_code = EX_TEMPFAIL
    state = "database locked"


class DatabaseFull(StoreError):
    """The disk under the database is full."""

    exit_code = EX_CANTCREAT
    state = "disk full"


class DatabaseUnusable(StoreError):
    """The database can't be opened, is damaged, or its schema is of another version."""

    permanent = True
    state = "database unusable"


class RowRefused(StoreError):
    """A CHECK or trigger refused a row; the message is the database's own and says why."""

    permanent = True
    exit_code = EX_DATAERR


class OctetsBroken(StoreError):
    """What is stored of a message can't be read back: the database is damaged, or somebody changed it."""

    permanent = True
    exit_code = EX_DATAERR


class ProofMissing(StoreError):
    """What was re-read from the archive does not hash to what was received; nothing may be deleted on the server."""
