"""`python -m tests.soak`: two weeks of a house in ten minutes, with everything going wrong that can.

    python -m tests.soak [--days 14] [--minutes 10] [--accounts 50] [--seed 1]

A daemon of its own process under a fast clock (house.py) polls 50 accounts of a loopback POP3 server and sends through a
loopback relay, while letters come, programs drop rows, and lines, servers, resolver, disk, database and clock fail at random.
Then everything is mended, the house comes to rest, and is asked: is every letter archived once, does the ledger say what the
servers say, has every row its verdict and every recipient a letter, and does the process hold no more memory, descriptors and threads
than on the third day? Prints figures; the exit code is 1 if a promise is broken.
"""

import argparse
import random
import shutil
import sys
from collections.abc import Sequence

from tests.servers import child
from tests.soak.campaign import Campaign


def main(words: Sequence[str] | None = None) -> int:
    """Run a campaign as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=float, default=14)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(words)
    folder = child.directory("soak")
    try:
        figures = Campaign(folder, random.Random(asked.seed), accounts=asked.accounts).run(
            days=asked.days, minutes=asked.minutes
        )
    finally:
        shutil.rmtree(folder)
    print(figures)
    return bool(figures.broken)


if __name__ == "__main__":
    sys.exit(main())
