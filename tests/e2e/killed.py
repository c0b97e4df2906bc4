"""Run the daemon, one fetch or one send as its own process, and kill it at a named step. Usage: killed.py run|fetch|send STEP [NTH]

STEP `-` runs to the end. The settings are in the environment, as for the command. SIGKILL, not an exception: nothing of
ours gets to tidy up.
"""

import os
import signal
import sys
from dataclasses import replace

from daemon import app, settings
from daemon.jobs.context import Context
from daemon.store.database import Database


def main() -> None:
    what, step, nth = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1
    seen = 0
    proper = app.context_of

    def context_of(settings: settings.Settings, database: Database) -> Context:
        def at(name: str, *, account: str) -> None:
            nonlocal seen
            seen += name == step
            if name == step and seen == nth:
                os.kill(os.getpid(), signal.SIGKILL)

        return replace(proper(settings, database), step=at)

    app.context_of = context_of
    loaded = settings.load()
    if what == "run":
        app.run(loaded)
        return
    app.configure_trace(loaded)
    database = app.open_database(loaded)
    try:
        results = app.fetch(loaded, database) if what == "fetch" else app.send(loaded, database)
        sys.exit(max((0 if one.error is None else 75 for one in results), default=0))
    finally:
        database.dispose()


if __name__ == "__main__":
    main()
