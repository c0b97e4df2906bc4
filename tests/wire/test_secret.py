"""Secrets are read from where the operator keeps them, and shown by nobody."""

import os
import pickle
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringError, KeyringLocked, NoKeyringError

from daemon import errors
from daemon.wire import secret as secret_module
from daemon.wire.secret import Secret, SecretSource
from tests.secrets_used import PASSWORD, TOKEN


def test_a_secret_shows_itself_to_nobody() -> None:
    one = Secret(PASSWORD)
    assert ["***", "Secret(***)", "***", "  ***", "(Secret(***),)"] == [
        str(one), repr(one), f"{one}", f"{one:>5}", f"{(one,)}"
    ]  # fmt: skip
    assert PASSWORD == one.reveal()
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(one)


def test_secrets_are_equal_by_value() -> None:
    assert Secret(PASSWORD) == Secret(PASSWORD) != Secret(TOKEN)
    assert 1 == len({Secret(PASSWORD), Secret(PASSWORD)})
    assert Secret(PASSWORD) != PASSWORD


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\nmore\n"])
def test_the_first_line_of_a_file_is_the_secret(tmp_path: Path, ending: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(PASSWORD.encode() + ending)
    path.chmod(0o600)
    assert Secret(PASSWORD) == SecretSource(file=path).read()


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"", "empty"), (b"\nx", "empty"), (b"\xff\xfe", "UTF-8"), (b"x" * 70_000, "longer")]
)
def test_a_file_without_a_password_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(errors.SecretUnavailable, match=complaint) as caught:
        SecretSource(file=path).read()
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.SecretUnavailable, match="No such file"):
        SecretSource(file=tmp_path / "none").read()


MINE, ROOTS, ANOTHERS = 1000, 0, 1001


@pytest.mark.parametrize(
    ("me", "owner", "mode", "said"),
    [
        (MINE, MINE, 0o600, None),
        (MINE, MINE, 0o400, None),
        (MINE, MINE, 0o644, "others may read or change it (mode 0644): chmod 600 "),
        (MINE, MINE, 0o602, "others may read or change it (mode 0602): chmod 600 "),
        (MINE, MINE, 0o640, "its group may read or change it (mode 0640): chmod 600 "),
        (MINE, ROOTS, 0o640, None),
        (MINE, ROOTS, 0o660, "its group may read or change it (mode 0660): chmod 600 "),
        (MINE, ROOTS, 0o644, "others may read or change it (mode 0644): chmod 600 "),
        (MINE, ANOTHERS, 0o600, "it belongs to another user, who can change it: chown 1000 "),
        (ROOTS, ROOTS, 0o600, None),
        (ROOTS, MINE, 0o600, None),
        (ROOTS, MINE, 0o640, "its group may read or change it (mode 0640): chmod 600 "),
    ],
)
def test_a_file_that_is_not_ours_alone_is_refused_with_what_to_do(
    me: int, owner: int, mode: int, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: me)
    status = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))
    path = Path("/secrets/mail")
    if said is None:
        secret_module._refuse_loose(status, path, "password file")
        return
    with pytest.raises(errors.SecretUnavailable) as caught:
        secret_module._refuse_loose(status, path, "password file")
    assert f"password file: {said}/secrets/mail" == str(caught.value)


def test_a_loose_file_is_refused_unless_systemd_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(PASSWORD, encoding="utf-8")
    path.chmod(0o444)
    with pytest.raises(errors.SecretUnavailable, match="others may read"):
        SecretSource(file=path).read()
    with pytest.raises(errors.SecretUnavailable, match="others may read"):
        secret_module.read_key(path)
    assert Secret(PASSWORD) == SecretSource(file=path, is_credential=True).read()


def test_a_pipe_is_nobody_else_s() -> None:
    reading, writing = os.pipe()
    os.write(writing, PASSWORD.encode() + b"\n")
    os.close(writing)
    assert Secret(PASSWORD) == SecretSource(file=Path(f"/dev/fd/{reading}")).read()
    os.close(reading)


def test_a_command_that_fails_with_the_password_in_its_mouth_is_not_quoted() -> None:
    program = "import sys; print(sys.argv[1], flush=True); sys.exit('can not store ' + sys.argv[1])"
    with pytest.raises(errors.SecretUnavailable, match=r"status 1: can not store \*\*\*"):
        SecretSource(command=(sys.executable, "-c", program, TOKEN)).read()


def test_the_first_line_that_a_command_prints_is_the_secret() -> None:
    source = SecretSource(command=(sys.executable, "-c", "import sys; print(sys.argv[1])", TOKEN))
    assert Secret(TOKEN) == source.read()


def test_a_failing_command_is_named_with_its_last_words() -> None:
    program = "import sys; print('first', file=sys.stderr); sys.exit('the vault is locked')"
    with pytest.raises(errors.SecretUnavailable, match="status 1: the vault is locked"):
        SecretSource(command=(sys.executable, "-c", program)).read()


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(errors.SecretUnavailable, match="/no/such/program: No such file"):
        SecretSource(command=("/no/such/program",)).read()


def test_a_hanging_command_is_killed_with_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_module, "COMMAND_SECONDS", 0.3)
    with pytest.raises(errors.SecretUnavailable, match="still running"):
        SecretSource(command=("sh", "-c", "sleep 60 & sleep 60")).read()


class Ring(KeyringBackend):
    """A keyring in memory, in one of several moods."""

    priority = 1

    trouble: Exception | None = None

    def set_password(self, service: str, username: str, password: str) -> None:  # noqa: ARG002 -- the library wants it
        raise AssertionError("nothing is ever put into a keyring")

    def get_password(self, service: str, username: str) -> str | None:
        if self.trouble is not None:
            raise self.trouble
        return {("mail", "anna"): TOKEN}.get((service, username))


@pytest.fixture
def ring() -> Iterator[Ring]:
    before = keyring.get_keyring()
    one = Ring()  # type: ignore[no-untyped-call]  # the library's __init__
    keyring.set_keyring(one)
    yield one
    keyring.set_keyring(before)


def test_a_keyring_has_the_secret_under_service_and_user(ring: Ring) -> None:
    assert Secret(TOKEN) == SecretSource(keyring="mail", username="anna").read()
    with pytest.raises(errors.SecretUnavailable, match="make one: keyring set mail bob"):
        SecretSource(keyring="mail", username="bob").read()


@pytest.mark.parametrize(
    ("expected", "trouble"),
    [
        ("no keyring for this user", NoKeyringError("none")),
        ("is locked; unlock it", KeyringLocked("locked")),
        ("the keyring failed: the bus is gone", KeyringError("the bus is gone\nmore")),
        ("the keyring failed: no display", RuntimeError("no display")),
    ],
)
def test_a_keyring_that_gives_nothing_is_named(ring: Ring, expected: str, trouble: Exception) -> None:
    ring.trouble = trouble
    with pytest.raises(errors.SecretUnavailable, match=expected) as caught:
        SecretSource(keyring="mail", username="anna").read()
    assert str(caught.value).startswith("keyring entry 'mail' of 'anna': ")
    assert "\n" not in str(caught.value)


def test_without_the_keyring_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(errors.SecretUnavailable, match=r"pip install 'postroom\[keyring\]'"):
        SecretSource(keyring="mail", username="anna").read()


def test_a_source_is_one_place() -> None:
    with pytest.raises(ValueError, match="one place"):
        SecretSource()
    with pytest.raises(ValueError, match="one place"):
        SecretSource(value=Secret(TOKEN), file=Path("x"))
    with pytest.raises(ValueError, match="user name belongs"):
        SecretSource(keyring="mail")
    with pytest.raises(ValueError, match="user name belongs"):
        SecretSource(value=Secret(TOKEN), username="anna")
