"""Have documents read by a process that may die of them (`worker.py`): one that kills it costs itself, not the others.

Questions and answers are files without a name, so that neither side ever waits for the other in the middle of one.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Final

from daemon.documents import worker

GRACE_SECONDS: Final = 5.0  # for the process to start, beyond the time that each document has
LOOK_SECONDS: Final = 0.05  # between two looks whether it has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file that may hold text. kind: as kinds.py names it."""

    kind: str
    octets: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a document. text: None if there is none to be had.  reason: why."""

    text: str | None = None
    reason: str = ""


def read(documents: Sequence[Document], *, is_stopped: Callable[[], bool] = lambda: False) -> list[Outcome] | None:
    """Give the outcome of each document, in their order; None if `is_stopped` said so meanwhile, and the process was ended."""
    outcomes: list[Outcome] = []
    while len(outcomes) < len(documents):
        answered = _run(documents[len(outcomes) :], is_stopped)
        if answered is None:
            return None
        outcomes += answered
        if len(outcomes) < len(documents):
            outcomes.append(Outcome(reason="the process that read it died of it, or ran out of time or memory"))
    return outcomes


def _run(documents: Sequence[Document], is_stopped: Callable[[], bool]) -> list[Outcome] | None:
    """Give the outcomes of those that were read before the process ended."""
    with tempfile.TemporaryFile() as questions, tempfile.TemporaryFile() as answers:
        for one in documents:
            questions.write(f"{one.kind} {len(one.octets)}\n".encode() + one.octets)
        questions.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", worker.__name__, str(worker.SECONDS), str(worker.MEMORY_OCTETS)],
            stdin=questions,
            stdout=answers,
            stderr=subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )
        try:
            until = time.monotonic() + GRACE_SECONDS + worker.SECONDS * len(documents)
            while process.poll() is None and time.monotonic() < until:
                if is_stopped():
                    return None
                time.sleep(LOOK_SECONDS)
        finally:
            process.kill()
            process.wait()
        answers.seek(0)
        return _outcomes(answers)


def _outcomes(answers: IO[bytes]) -> list[Outcome]:
    """Read whole answers; the last one may be cut."""
    found: list[Outcome] = []
    while (header := answers.readline()).endswith(b"\n"):
        word, length = header.split()
        answer = answers.read(int(length))
        if len(answer) < int(length):
            break
        text = answer.decode("utf-8", "replace")
        found.append(Outcome(text=text) if word == b"text" else Outcome(reason=text))
    return found
