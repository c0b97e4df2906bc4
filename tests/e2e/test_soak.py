"""What `make soak` does for ten minutes, for seconds: days of a house in which everything fails at times."""

from pathlib import Path
from random import Random

from tests.soak.campaign import Campaign


def test_a_day_in_which_lines_servers_disk_and_clock_fail_loses_nothing(tmp_path: Path) -> None:
    figures = Campaign(tmp_path, Random(6), accounts=6, disasters_share=0.5).run(days=1, minutes=0.3)
    assert [] == figures.broken
    assert (True, True, True) == (figures.hours >= 24, figures.visits > 20, bool(figures.disasters))
