"""The process that reads documents, and may die of one: `python -m daemon.documents.worker SECONDS OCTETS`.

Frames come in, answers go out. Each frame is a line, `kind octets`, and so many octets; each answer a line, `text octets` or `none octets`, and the text in UTF-8 or the
reason. Limits are this process's own: a document that takes too long or too much ends it, and `reader.py` goes on with the next.
"""

import resource
import signal
import sys
from typing import IO, Final

from daemon.documents.text import text_of

SECONDS: Final = 15  # for a document; a hundred pages of PDF take some five
MEMORY_OCTETS: Final = 768 * 1024 * 1024  # of address space: Python, pypdf and a document of 50 MB fit
ANSWERS_OCTETS: Final = 64 * 1024 * 1024  # of all answers together, as a file


def main(questions: IO[bytes], answers: IO[bytes], seconds: int) -> None:
    """Answer every frame. seconds: for each."""
    while header := questions.readline():
        kind, length = header.split()
        octets = questions.read(int(length))
        signal.alarm(seconds)  # nobody catches it: the process ends
        try:
            answer, word = text_of(kind.decode(), octets).encode(), "text"
        except Exception as error:  # noqa: BLE001 -- a stranger's document may break a library anywhere
            answer, word = f"{type(error).__name__}: {error}"[:200].encode("utf-8", "replace"), "none"
        signal.alarm(0)
        answers.write(f"{word} {len(answer)}\n".encode() + answer)
        answers.flush()


if __name__ == "__main__":
    for limit, most in (
        (resource.RLIMIT_AS, int(sys.argv[2])),
        (resource.RLIMIT_FSIZE, ANSWERS_OCTETS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (most, most))
    main(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))
