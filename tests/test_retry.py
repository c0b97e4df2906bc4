"""The back-off is pure: clock and jitter are parameters."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.retry import JITTER, Backoff

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BACKOFF = Backoff(first=timedelta(minutes=1), longest=timedelta(hours=4))


@pytest.mark.parametrize(
    ("failures", "minutes"), [(1, 1), (2, 2), (3, 4), (4, 8), (8, 128), (9, 240), (10, 240), (1_000_000, 240)]
)
def test_wait_doubles_up_to_the_longest(failures: int, minutes: int) -> None:
    assert timedelta(minutes=minutes) == BACKOFF.wait(failures, jitter=0.5)


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 1 - JITTER), (0.5, 1.0), (0.75, 1 + JITTER / 2)])
def test_jitter_spreads_the_wait_either_way(jitter: float, share: float) -> None:
    assert pytest.approx(60 * share) == BACKOFF.wait(1, jitter).total_seconds()


def test_next_attempt_is_counted_from_now() -> None:
    assert NOW + timedelta(minutes=4) == BACKOFF.next_attempt(3, NOW, jitter=0.5)


@given(
    failures=st.integers(min_value=0, max_value=10**9),
    jitter=st.floats(min_value=0, max_value=1, exclude_max=True),
    first=st.integers(min_value=1, max_value=10**6),
    factor=st.integers(min_value=1, max_value=10**4),
)
def test_wait_is_always_positive_and_bounded(failures: int, jitter: float, first: int, factor: int) -> None:
    backoff = Backoff(first=timedelta(seconds=first), longest=timedelta(seconds=first * factor))
    wait = backoff.wait(failures, jitter)
    assert timedelta(0) < wait <= backoff.longest * (1 + JITTER)
