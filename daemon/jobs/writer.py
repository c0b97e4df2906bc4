"""Write one batch while the next comes in: the disk and the line work at the same time.

A thread is started for the second batch of a visit, so that the many small visits have none. Its transaction never waits for
a socket: what is handed over is here already. One batch is under way at most, which bounds memory, and they are written in
their order. What goes wrong is raised at the next call, in the thread of the visit.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Self, TypeVar

Batch = TypeVar("Batch")


class Writer(Generic[Batch]):
    """Hands batches to a thread, one at a time; at the end of its block all is written, or raised."""

    def __init__(self, write: Callable[[Batch], None]) -> None:
        """`write`: makes a batch durable."""
        self._write = write
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: Future[None] | None = None

    def hand_over(self, batch: Batch) -> None:
        """Have a batch written; waits for the one before, and raises what became of it."""
        self._wait()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._under_way = self._pool.submit(self._write, batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        if kind is None:
            self._wait()

    def _wait(self) -> None:
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()
