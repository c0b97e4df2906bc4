"""The end of a process in the middle of something, where a real SIGKILL would cost a process each."""

from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """Like SIGKILL, as far as the database can tell: nothing of ours runs on."""


def killing(original: Callable[..., Any], after: int) -> Callable[..., Any]:
    """Return the function, so that it is killed once it is done, at the call behind so many."""
    calls = iter(range(after, -1, -1))

    def run(*given: object, **named: object) -> object:
        done = original(*given, **named)
        if next(calls, 0) == 0:
            raise Killed
        return done

    return run
