"""A few kills at random instants of a fetch-and-delete run; `make torture` has two hundred."""

from pathlib import Path

import pytest

from tests.servers.certificates import Certificates
from tests.servers.dovecot import Dovecot
from tests.torture.campaign import Campaign

pytestmark = pytest.mark.servers


def test_kills_at_random_instants_lose_nothing_and_double_nothing(
    tmp_path: Path, dovecot: Dovecot, certificates: Certificates, user: str
) -> None:
    campaign = Campaign(dovecot, certificates.ca_file, tmp_path, user=user, seed=6)
    figures = campaign.run(kills=6, messages=200, a_visit=30)
    campaign.house.close()
    assert [] == figures.broken
    assert 6 == figures.kills
