"""Sharing that is stopped in between, or finds something wrong: letters are at every instant what came."""

import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import insert, text

from daemon.jobs import pack
from daemon.jobs.context import Context
from daemon.store import blobs, repacking, sharing, sources
from daemon.store.database import Database, Transaction
from daemon.store.source_tables import message_sources
from tests.doubles import house
from tests.doubles.kills import Killed, killing
from tests.jobs.test_share import FILE, LOGO, _no_pause, assert_whole, attached, encoded, fill, rows, users

__all__ = ["_no_pause"]  # a fixture


@pytest.mark.parametrize("step", ["keep", "cut", "part", "proven", "recut", "note", "pulse"])
def test_a_run_that_is_killed_is_gone_on_with(context: Context, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Killed at each of these steps, again and again: all letters are whole, and in the end all share."""
    letters = [attached(encoded(FILE), encoded(LOGO), subject=str(n)) for n in range(3)]
    expected = dict(zip(fill(context, *letters), letters, strict=True))
    module = {"keep": blobs, "cut": sharing, "recut": sharing, "note": repacking}.get(step, sources)

    was_killed = False
    for after in (0, 1, 3):
        with monkeypatch.context() as patched:
            around = context
            if step == "pulse":
                around = replace(context, pulse=killing(lambda: None, after))
            else:
                patched.setattr(module, step, killing(getattr(module, step), after))
            try:
                pack.pack(around)
            except Killed:
                was_killed = True
        assert_whole(context.database, expected)
        assert all(count for _, count in users(context.database)), "no blob without a letter"
    assert was_killed
    pack.pack(context)
    assert_whole(context.database, expected)
    assert [3, 3] == [count for _, count in users(context.database)]


def test_a_letter_that_can_t_be_read_back_stays_as_it_is(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with it, or with the blob; others are gone on with."""
    letters = [attached(encoded(FILE), subject=str(n)) for n in range(3)]
    ids = fill(context, *letters)
    with context.database.transaction() as tx:
        tx.execute(
            text("UPDATE message_sources SET content = :octets WHERE message = :id"), {"octets": b"x", "id": ids[0]}
        )
    pack.pack(context)
    assert [2] == [count for _, count in users(context.database)]
    assert [(1,)] == rows(context.database, f"SELECT count(*) FROM message_sources WHERE message = {ids[0]}")
    with context.database.transaction() as tx:
        tx.execute(text("UPDATE blobs SET content = :octets, encoding = 'identity'"), {"octets": b"x"})
    more = attached(encoded(FILE), subject="more")
    (message,) = fill(context, more, start=3)
    pack.pack(context)
    assert_whole(context.database, {message: more})
    assert [2] == [count for _, count in users(context.database)]


PACKING = """
import os
import signal
import sys
import time

from daemon.jobs import pack, share
from daemon.store.database import Database
from tests.doubles import house

share.PAUSE_SECONDS = 0.0
for seconds in map(float, sys.stdin):
    child = os.fork()
    if not child:
        pack.pack(house.context(Database(sys.argv[1]), house.Clock()))
        os._exit(0)
    if seconds:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_letters_are_whole_after_sigkill_at_any_instant(sqlite_url: str) -> None:
    """A process that packs is killed for good, a little later each time; the last one gets through."""
    database = Database(sqlite_url)
    files = [Random(n).randbytes(200_000) for n in range(4)]
    letters = [attached(encoded(files[n % 4]), encoded(files[n % 3]), subject=str(n)) for n in range(24)]
    context = house.context(database, house.Clock())
    expected = dict(zip(fill(context, *letters), letters, strict=True))
    random, codes = Random("instants"), list[int]()
    process = subprocess.Popen(
        [sys.executable, "-c", PACKING, sqlite_url],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process, process.stdin, process.stdout:
        for latest in (0.02, 0.04, 0.08, 0.16, 0.32, 0):
            process.stdin.write(f"{latest * random.uniform(0.5, 1)}\n")
            process.stdin.flush()
            codes.append(int(process.stdout.readline()))
            assert_whole(database, expected)
            assert all(count for _, count in users(database)), "no blob without a letter"
    assert (-signal.SIGKILL, 0) == (codes[0], codes[-1])
    assert 48 == sum(count for _, count in users(database))
    database.dispose()


@pytest.mark.parametrize(("first", "expected"), [("find", [(1, 1)]), ("delete", [(2, 1)])])
def test_a_blob_that_is_found_while_its_last_user_goes(
    postgresql_url: str, first: str, expected: list[tuple[int, int]]
) -> None:
    """Whichever of two daemons comes first, the other waits: who finds the blob has it, or stores it anew."""
    database = Database(postgresql_url)
    context = house.context(database, house.Clock())
    ids = fill(context, *(attached(encoded(FILE), subject=str(n)) for n in range(2)))
    pack.pack(context)
    is_under_way, other_is_done = threading.Event(), threading.Event()

    def find(tx: Transaction) -> None:
        blob = blobs.keep(tx, context.packer, encoded(FILE)).id
        row = {"message": ids[1], "part": 9, "octets": 1, "encoding": "blob", "blob": blob, "content": b""}
        tx.execute(insert(message_sources), [row])

    def delete(tx: Transaction) -> None:
        tx.execute(text("DELETE FROM message_sources WHERE part = 1"))

    def begin() -> None:
        with database.transaction() as tx:
            (find if first == "find" else delete)(tx)
            is_under_way.set()
            assert not other_is_done.wait(0.3)

    thread = threading.Thread(target=begin)
    thread.start()
    assert is_under_way.wait(10)
    with database.transaction() as tx:
        (delete if first == "find" else find)(tx)
        other_is_done.set()
    thread.join()
    assert expected == users(database)
    database.dispose()


def test_a_large_letter_is_never_held_whole(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sources, sharing):
        monkeypatch.setattr(module, "SOURCE_PART_OCTETS", 50_000)
    letters = [attached(encoded(Random("a film").randbytes(2_500_000)), subject=str(n)) for n in range(2)]
    fill(context, *letters)
    tracemalloc.start()
    pack.pack(context)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 * 50_000
    assert 69 == len(users(context.database))
