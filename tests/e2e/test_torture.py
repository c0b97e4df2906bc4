"""What `make torture` does for minutes, for seconds: kills at random instants, and several daemons on one database."""

from pathlib import Path

import pytest

from daemon.demo.smtp_server import SmtpServer
from tests.servers.certificates import Certificates
from tests.servers.dovecot import Dovecot
from tests.torture import nodes, sending
from tests.torture.campaign import Campaign


@pytest.mark.servers
def test_kills_at_random_instants_lose_nothing_and_double_nothing(
    tmp_path: Path, dovecot: Dovecot, certificates: Certificates, user: str
) -> None:
    campaign = Campaign(dovecot, certificates.ca_file, tmp_path, user=user, seed=6)
    figures = campaign.run(kills=6, messages=200, a_visit=30)
    campaign.house.close()
    assert [] == figures.broken
    assert 6 == figures.kills


def test_kills_at_random_instants_of_a_drain_lose_nobodys_letter_and_double_only_what_was_in_doubt(
    tmp_path: Path,
) -> None:
    with SmtpServer() as relay:
        figures = sending.Campaign(tmp_path, relay, seed=6).run(kills=8, rows=100)
    assert [] == figures.broken
    assert (8, True) == (figures.kills, figures.rows >= 100)


@pytest.mark.servers
def test_two_daemons_on_one_postgresql_send_every_row_once(tmp_path: Path, postgresql_url: str) -> None:
    figures = nodes.drain_together(postgresql_url, tmp_path, daemons=2, rows=500)
    assert [] == figures.broken
