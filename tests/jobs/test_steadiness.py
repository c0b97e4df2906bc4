"""A clock that is set is noticed; one that went far forward is not believed for an hour."""

from datetime import timedelta

import pytest

from daemon.jobs.steadiness import Steadiness
from tests.doubles import house

HOURS, SECONDS, NEVER = timedelta(hours=1), timedelta(seconds=1), timedelta(0)


class Clocks:
    """A wall clock, and one that nobody sets."""

    def __init__(self) -> None:
        self.wall, self.passed = house.NOW, 100.0
        self.steadiness = Steadiness(lambda: self.wall, lambda: self.passed)

    def go_on(self, seconds: float, set_by: timedelta = NEVER) -> None:
        self.passed += seconds
        self.wall += timedelta(seconds=seconds) + set_by


@pytest.mark.parametrize(
    ("set_by", "noticed", "doubted"),
    [
        (NEVER, False, False),
        (30 * SECONDS, False, False),
        (-30 * SECONDS, False, False),
        (2 * HOURS, True, False),
        (-2 * HOURS, True, False),
        (720 * HOURS, True, True),
        (-720 * HOURS, True, False),
    ],
)
def test_a_clock_that_is_set_is_noticed_and_doubted_if_it_went_far_forward(
    *, set_by: timedelta, noticed: bool, doubted: bool
) -> None:
    clocks = Clocks()
    clocks.go_on(3600)
    assert NEVER == clocks.steadiness.look()
    clocks.go_on(10, set_by)
    before_the_look = clocks.steadiness.doubt
    assert (set_by if noticed else NEVER) == clocks.steadiness.look()
    assert (set_by if doubted else None) == clocks.steadiness.doubt == before_the_look
    clocks.go_on(3601)
    assert NEVER == clocks.steadiness.look()
    assert None is clocks.steadiness.doubt, "an hour later it is the time"


def test_a_clock_that_is_put_right_is_believed_at_once() -> None:
    clocks = Clocks()
    clocks.go_on(1, 720 * HOURS)
    clocks.steadiness.look()
    clocks.go_on(1, -720 * HOURS)
    assert None is clocks.steadiness.doubt
    assert -720 * HOURS == clocks.steadiness.look()
    assert None is clocks.steadiness.doubt
