"""What the operator asks of a running process by signals: SIGTERM and SIGINT to stop, SIGHUP to read the settings again.

A handler only notes what is asked; the main thread, which waits in `wait`, does it.
"""

import signal
import sys
import threading
import time
from types import FrameType
from typing import Final, Self

from daemon import errors, trace

LOOK_SECONDS: Final = 0.5  # a wait for one event is not ended by another: so long a SIGHUP may wait
TO_STOP: Final = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Listens for the length of the block, where this is the main thread; `stop` may also be set by others."""

    def __init__(self, stop: threading.Event, *, reloads: bool = False) -> None:
        """Nothing is listened to yet. reloads: whether SIGHUP asks for a reload; else it ends the process, as everywhere."""
        self.stop = stop
        # Where stderr is a terminal, SIGHUP says that it was closed: nobody would hear the daemon any more.
        self._taken = (*TO_STOP, signal.SIGHUP) if reloads and not sys.stderr.isatty() else TO_STOP
        self._reload = threading.Event()
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        """Begin to listen."""
        if threading.current_thread() is threading.main_thread():
            for one in self._taken:
                self._before[one] = signal.signal(one, self._asked)
        return self

    def __exit__(self, *_: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)  # type: ignore[arg-type]  # what signal() returned is what it takes

    def wait(self, seconds: float) -> bool:
        """Wait, but not beyond a stop, nor long beyond a SIGHUP; True when it is to stop."""
        until = time.monotonic() + seconds
        while not self._reload.is_set() and (left := until - time.monotonic()) > 0:
            if self.stop.wait(min(left, LOOK_SECONDS)):
                break
        return self.stop.is_set()

    def wants_reload(self) -> bool:
        """Tell whether the settings are to be read again; told once for each time it was asked."""
        asked = self._reload.is_set()
        self._reload.clear()
        return asked

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reload.set()
            return
        if not self.stop.is_set():
            trace.stopping(signal=signal.Signals(number).name)
        elif number == signal.SIGINT:
            sys.exit(errors.EX_TEMPFAIL)  # asked twice: somebody at a terminal does not want to wait
        self.stop.set()
