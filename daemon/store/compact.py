"""Give the room that deleted rows left in an SQLite file back to the disk; SQLite itself keeps it for new rows.

Written anew into a file beside it, not by VACUUM in place: our SQLite keeps temporary files in memory, which would have to be as
large as the database.
"""

import os
import shutil
from contextlib import closing

from daemon import errors
from daemon.store import exchange, frozen
from daemon.store.backup import file_of
from daemon.store.database import Database
from daemon.store.dialect import engine
from daemon.store.frozen import Progress


def compact(database: Database, progress: Progress) -> tuple[int, int]:
    """Write the database anew; give its octets before and after. Busy if a daemon runs, or another program has it open.

    Who comes meanwhile waits in vain: everybody is kept out, so that nothing is written that would be lost.
    """
    path = file_of(database, "autovacuum lets it use the room again all the time, and VACUUM FULL gives it back")
    with database.run_lock(), exchange.cleared_away(path.with_name(f".{path.name}.part")) as part:
        with exchange.alone(path) as connection:
            if connection is None:
                raise errors.DatabaseUnusable(f"{path}: damaged; `postroom db restore` puts a backup in its place")
            before = path.stat().st_size
            free = shutil.disk_usage(path.parent).free
            pages, unused = (
                connection.execute(f"PRAGMA {one}").fetchone()[0] for one in ("page_count", "freelist_count")
            )
            needed = before * (pages - unused) // max(pages, 1)
            if free < needed:
                raise errors.DatabaseFull(
                    f"{path.parent}: {needed:,} octets are needed beside the database, {free:,} are free"
                )
            progress("write anew", 0, 0)
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, engine.MODE))
            shutil.copymode(path, part)
            connection.execute("VACUUM INTO ?", (str(part),)).close()
            exchange.synced(part)
            frozen.examined(part, progress)
            after = part.stat().st_size
            exchange.put_in_place(part, path)
        with closing(engine.connect_sqlite(path)):
            pass  # with a write-ahead log again
    return before, after
