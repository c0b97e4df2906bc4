"""`python -m tests.torture [fetch|send|nodes] [its options]`: what takes minutes; without a word, all of it.

fetch    kills of a fetch-and-delete run against Dovecot
send     kills of a drain
nodes    several daemons on one PostgreSQL
"""

import sys
from collections.abc import Callable, Sequence
from typing import Final

from tests.torture import campaign, nodes, sending

CAMPAIGNS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "fetch": campaign.main,
    "send": sending.main,
    "nodes": nodes.main,
}


def main() -> int:
    """Run what is asked for; return 1 if a promise was broken."""
    words = sys.argv[1:]
    if not words:
        return max([run([]) for run in CAMPAIGNS.values()])
    if words[0] not in CAMPAIGNS:
        print(__doc__, file=sys.stderr)
        return 64
    return CAMPAIGNS[words[0]](words[1:])


if __name__ == "__main__":
    sys.exit(main())
