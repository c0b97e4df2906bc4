"""A spool gives back what it was given, small or large."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from daemon import errors
from daemon.wire.spool import SPOOL_MEMORY_OCTETS, Spool


@pytest.mark.parametrize("octets", [0, 1, SPOOL_MEMORY_OCTETS, SPOOL_MEMORY_OCTETS + 1, 3 * SPOOL_MEMORY_OCTETS])
@pytest.mark.parametrize("whole", [True, False])
def test_what_goes_in_comes_out(octets: int, *, whole: bool) -> None:
    content = os.urandom(1024) * (octets // 1024) + b"x" * (octets % 1024)
    spool = Spool.of(content) if whole else Spool()
    if not whole:
        for start in range(0, octets, 300_000):
            spool.append(content[start : start + 300_000])
    with spool:
        assert octets == spool.octets
        assert hashlib.sha256(content).hexdigest() == spool.sha256
        assert content == b"".join(spool.pieces(1_000_003)) == b"".join(spool.pieces()) == spool.getvalue()
        assert whole or spool.is_in_memory == (octets <= SPOOL_MEMORY_OCTETS)
        spool.append(b"more")
        assert content + b"more" == spool.getvalue()
        assert hashlib.sha256(content + b"more").hexdigest() == spool.sha256
    assert hashlib.sha256(content + b"more").hexdigest() == spool.sha256


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with Spool() as spool, pytest.raises(errors.DatabaseFull, match="TMPDIR"):
        spool.append(b"x" * (SPOOL_MEMORY_OCTETS + 1))


def test_a_really_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 -- the spool closes it
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: full)
    with Spool() as spool, pytest.raises(errors.DatabaseFull):
        spool.append(b"x" * (SPOOL_MEMORY_OCTETS + 1))
