"""A secret that can't be shown by accident, and where secrets come from: a value, a file's first line, a command's, a keyring.

A secret is read anew for each session, so that a rotated password needs no restart. A file that others may read is refused, as
ssh does with keys: a password that was readable is one to be changed. Raises SecretUnavailable with what to do about it. Never logs, never keeps a secret longer than its caller does, never runs a shell.
"""

import hmac
import os
import signal
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from daemon.errors import SecretUnavailable

SECRET_OCTETS: Final = 65_536  # octets read of a file or a command: OAuth tokens run to a few KiB, /dev/zero never ends
COMMAND_SECONDS: Final = 30.0  # a password manager may ask its agent, but must not hold up the account for ever
SHOWN: Final = "***"


class Secret:
    """Text that only `reveal` shows; equal by value, in constant time."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """`value`: the secret itself."""
        self._value = value

    def reveal(self) -> str:
        """Return the text; whoever calls this answers for where it goes."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({SHOWN})"

    def __str__(self) -> str:
        return SHOWN

    def __format__(self, spec: str) -> str:
        return format(SHOWN, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = (one.encode("utf-8", "surrogatepass") for one in (self._value, other._value))
        return hmac.compare_digest(mine, theirs)

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        """Refuse pickling and copying by pickle: a pickle is a place where nobody redacts."""
        raise TypeError("a Secret can't be pickled")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSource:
    """Where a secret is; exactly one of value, file, command and keyring is given.

    command: words, run without a shell; the first line that it prints is the secret.  keyring: the name of a service, under
    which the keyring of the system has an entry for `username`, which is given with it, and only then.
    """

    value: Secret | None = None
    file: Path | None = None
    command: tuple[str, ...] | None = None
    keyring: str | None = None
    username: str | None = None
    is_credential: bool = False

    def __post_init__(self) -> None:
        """Hold the caller to one place."""
        places = (self.value, self.file, self.command, self.keyring)
        if sum(one is not None for one in places) != 1 or self.command == ():
            raise ValueError("a secret comes from one place: a value, a file, a command, or a keyring")
        if (self.keyring is None) != (self.username is None):
            raise ValueError("a user name belongs to a keyring's service, and only there")

    def read(self) -> Secret:
        """Return the secret as it is now; SecretUnavailable says which place failed, and how."""
        if self.value is not None:
            return self.value
        if self.file is not None:
            return _first_line(*_read(self.file, "password file", is_credential=self.is_credential))
        if self.keyring is not None:
            return _ask(self.keyring, self.username or "")
        return _run(self.command or ())


def _first_line(octets: bytes, origin: str) -> Secret:
    line = octets.partition(b"\n")[0].removesuffix(b"\r")
    if not line:
        raise SecretUnavailable(f"{origin}: the first line is empty; it should be the password")
    if len(line) >= SECRET_OCTETS:
        raise SecretUnavailable(f"{origin}: the first line is longer than {SECRET_OCTETS} octets")
    try:
        return Secret(line.decode())
    except UnicodeDecodeError:  # its message would quote the octets
        raise SecretUnavailable(f"{origin}: the first line is not UTF-8 text") from None


def _read(path: Path, kind: str, *, is_credential: bool) -> tuple[bytes, str]:
    """Return a file's octets, and the words that name it; SecretUnavailable where it can't be read, or others may read it."""
    origin = f"{kind} {path}"
    try:
        with path.open("rb") as file:
            if not is_credential:
                _refuse_loose(os.fstat(file.fileno()), path, origin)
            return file.read(SECRET_OCTETS), origin
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SecretUnavailable(f"{origin}: {reason}") from error


def _refuse_loose(status: os.stat_result, path: Path, origin: str) -> None:
    """Raise SecretUnavailable for a file that is not ours alone. A pipe has nobody else at its other end.

    A file of root's may be readable for a group, through which a daemon that is not root reads it: root has meant it so.
    """
    if not stat.S_ISREG(status.st_mode):
        return
    if status.st_uid not in {0, os.geteuid()} and os.geteuid() != 0:
        raise SecretUnavailable(f"{origin}: it belongs to another user, who can change it: chown {os.geteuid()} {path}")
    loose = stat.S_IMODE(status.st_mode) & (0o037 if status.st_uid == 0 else 0o077)
    if loose:
        who = "others" if loose & 0o007 else "its group"
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise SecretUnavailable(f"{origin}: {who} may read or change it (mode {mode}): chmod 600 {path}")


def _ask(service: str, username: str) -> Secret:
    """Ask the keyring of the system: Secret Service, KWallet, or what keyring's own settings name."""
    origin = f"keyring entry {service!r} of {username!r}"
    try:
        import keyring  # noqa: PLC0415 -- an extra, and slow to load
        import keyring.errors  # noqa: PLC0415
    except ImportError as error:
        raise SecretUnavailable(f"{origin}: the keyring library is missing; pip install 'postroom[keyring]'") from error
    try:
        found = keyring.get_password(service, username)
    except keyring.errors.NoKeyringError as error:
        raise SecretUnavailable(
            f"{origin}: there is no keyring for this user on this machine; start one, or set PASSWORD_FILE instead"
        ) from error
    except keyring.errors.KeyringLocked as error:
        raise SecretUnavailable(f"{origin}: the keyring is locked; unlock it, or set PASSWORD_FILE instead") from error
    except (keyring.errors.KeyringError, OSError, RuntimeError) as error:
        detail = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise SecretUnavailable(f"{origin}: the keyring failed: {detail}") from error
    if not found:
        raise SecretUnavailable(f"{origin}: there is no such entry; make one: keyring set {service} {username}")
    return Secret(found)


def read_key(path: Path, *, is_credential: bool = False) -> Secret:
    """Return a private key's file whole, as it is now; SecretUnavailable says what is wrong with it."""
    octets, origin = _read(path, "DKIM key file", is_credential=is_credential)
    try:
        return Secret(octets.decode("ascii"))
    except UnicodeDecodeError:  # its message would quote the octets
        raise SecretUnavailable(f"{origin}: not a key in PEM") from None


def _run(command: tuple[str, ...]) -> Secret:
    """Run a password command in a session of its own, so that a hung one can be ended with its children."""
    origin = f"password command {command[0]}"
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SecretUnavailable(f"{origin}: {reason}") from error
    with process:
        try:
            octets, complaint = process.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise SecretUnavailable(f"{origin}: still running after {COMMAND_SECONDS:.0f} s; it was killed") from None
    if process.returncode != 0:
        lines = complaint.decode("utf-8", "replace").strip().splitlines()
        detail = f": {lines[-1][:200]}" if lines else ""
        if printed := octets.partition(b"\n")[0].decode("utf-8", "replace"):
            detail = detail.replace(printed, SHOWN)  # it had the password, and failed all the same
        raise SecretUnavailable(f"{origin}: ended with status {process.returncode}{detail}")
    return _first_line(octets[:SECRET_OCTETS], origin)
