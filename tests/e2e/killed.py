"""Run the daemon, one fetch or one send as its own process, and kill it at a named step.

Started once for many runs: each line of the input is one, in JSON: what (run, fetch or send), step (`-` runs to the end),
environment (as for the command), directory, and the log that takes what it says. The answer is its exit code, negative for
a signal. Each run is a fork of this process, which has loaded the daemon and done nothing else: no thread, no connection.
SIGKILL, not an exception: nothing of ours gets to tidy up.
"""

import json
import os
import signal
import sys
from dataclasses import replace

from daemon import app, settings
from daemon.jobs.context import Context
from daemon.store.database import Database


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if not (pid := os.fork()):
            os.chdir(asked["directory"])
            os.environ.clear()
            os.environ.update(asked["environment"])
            log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.exit(go(asked["what"], asked["step"]))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def go(what: str, step: str) -> int:
    """Return the exit code, if it comes to that."""
    proper = app.context_of

    def context_of(settings: settings.Settings, database: Database) -> Context:
        def at(name: str, *, account: str) -> None:
            if name == step:
                os.kill(os.getpid(), signal.SIGKILL)

        return replace(proper(settings, database), step=at)

    app.context_of = context_of
    loaded = settings.load()
    if what == "run":
        app.run(loaded)
        return 0
    app.configure_trace(loaded)
    database = app.open_database(loaded)
    try:
        results = app.fetch(loaded, database) if what == "fetch" else app.send(loaded, database)
        return max((0 if one.error is None else 75 for one in results), default=0)
    finally:
        database.dispose()


if __name__ == "__main__":
    main()
