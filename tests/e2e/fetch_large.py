"""One visit of a maildrop on the loopback port named here, with its index; prints the outcome and the peak of memory in KiB.

Usage: fetch_large.py [MAX_MESSAGE_OCTETS]. The settings are in the environment. The peak is VmHWM, of this process alone: ru_maxrss
also knows what the process that started this one had.
"""

import re
import sys
from pathlib import Path
from unittest.mock import patch

from daemon import app, settings
from daemon.pop3 import session


def peak_kib() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found
    return int(found[1])


def main() -> None:
    loaded = settings.load()
    app.configure_trace(loaded)
    if len(sys.argv) > 1:
        patch.object(session, "MAX_MESSAGE_OCTETS", int(sys.argv[1])).start()
    database = app.open_database(loaded)
    try:
        (result,) = app.fetch(loaded, database)
        print(result.outcome, type(result.error).__name__, result.octets, peak_kib())
    finally:
        database.dispose()


if __name__ == "__main__":
    main()
