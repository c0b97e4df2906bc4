"""The programs that we are measured beside: how each is configured, run as a whole process, and its mail counted.

They do not promise the same. mpop calls fsync for each letter; getmail6 twice, and forks for each; fetchmail never, but
starts two processes for each. Who is slow gets fewer letters: compare rates, not times.
"""

import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.ground import PASSWORD, Maildrop
from tests.benchmarks.letters import MARK
from tests.benchmarks.resident import Failed, variables

CHUNK_OCTETS: Final = 1 << 20
LOOK_SECONDS: Final = 0.005  # between two looks at a process's memory
NO_MAIL: Final = 1  # fetchmail's exit code when nothing was new


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A program to be measured.

    prepare: (directory, maildrop, whether to delete what was fetched) -> command; writes its configuration there.
    count: the letters that it has put into the directory so far.
    seen: write its state into the directory as if it had fetched these UIDLs; None: let it fetch them.
    """

    name: str
    program: str
    prepare: Callable[[Path, Maildrop, bool], list[str]]
    count: Callable[[Path], int]
    seen: Callable[[Path, Maildrop, list[str]], None] | None = None
    is_slow: bool = False
    as_user: str | None = None  # when we are root and it refuses to be


def run(peer: Peer, directory: Path, maildrop: Maildrop, *, delete: bool = False, memory: bool = False) -> dict:
    """Run a peer once and check what arrived; returns wall, cpu (seconds, of the process and its children), octets of memory."""
    command = peer.prepare(directory, maildrop, delete)
    user = peer.as_user if os.geteuid() == 0 else None
    if user is not None:
        for path in (directory, *directory.iterdir(), *(directory / "maildir").iterdir()):
            shutil.chown(path, user, pwd.getpwnam(user).pw_gid)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
    environment |= {"HOME": str(directory), "FETCHMAILHOME": str(directory), "PYTHONPATH": str(Path.cwd())}
    before = peer.count(directory)
    with (directory / "said").open("wb") as said:
        os.sync()
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
        )
        peak = _peak(process.pid) if memory else 0
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 and not (peer.program == "fetchmail" and process.returncode == NO_MAIL):
        last = (directory / "said").read_text(errors="replace").strip().rpartition("\n")[2]
        raise Failed(f"{peer.name}: exit code {process.returncode}: {last}")
    arrived = peer.count(directory) - before
    if arrived != maildrop.messages:
        raise Failed(f"{peer.name}: {arrived} messages arrived, not {maildrop.messages}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "memory": peak}


def _peak(process: int) -> int:
    """Watch a process until it ends; return the most memory that it had resident, in octets.

    Not what wait4 says: that maximum survives exec, and would be that of the process that started it.
    """
    peak = 0
    while True:
        try:
            status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
        except OSError:
            return peak
        if "VmHWM:" not in status:
            return peak  # it has ended and waits for us
        peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        time.sleep(LOOK_SECONDS)


# --- mpop -----------------------------------------------------------------------------------------------------------


def _mpop(destination: str) -> Callable[[Path, Maildrop, bool], list[str]]:
    def prepare(directory: Path, maildrop: Maildrop, delete: bool) -> list[str]:  # noqa: FBT001
        _maildir(directory)
        tls = f"tls on\ntls_starttls off\ntls_trust_file {maildrop.ca_file}" if maildrop.ca_file else "tls off"
        configuration = _private(
            directory / "mpoprc",
            f"account bench\nhost localhost\nport {maildrop.port}\nuser {maildrop.user}\npassword {PASSWORD}\nauth user\n{tls}\n"
            f"keep {'off' if delete else 'on'}\nonly_new on\npipelining on\nreceived_header off\nuidls_file {directory}/uidls\n"
            f"delivery {destination} {directory}/{destination}\n",
        )
        return ["mpop", "--quiet", f"--file={configuration}", "bench"]

    return prepare


# --- fetchmail ------------------------------------------------------------------------------------------------------


def _fetchmail(directory: Path, maildrop: Maildrop, delete: bool) -> list[str]:  # noqa: FBT001
    tls = f"ssl sslcertck sslcertfile {maildrop.ca_file}" if maildrop.ca_file else "sslproto ''"
    configuration = _private(
        directory / "fetchmailrc",
        "set no bouncemail\nset no syslog\nset postmaster root\n"
        f"poll localhost service {maildrop.port} protocol pop3 uidl auth password timeout 60\n"
        f'  user "{maildrop.user}" there password "{PASSWORD}" is root here\n'
        f'  {"no keep" if delete else "keep"} no rewrite {tls} mda "cat >> {directory}/mbox"\n',
    )
    words = ["--silent", "--nodetach", "-f", str(configuration)]
    return ["fetchmail", *words, "-i", f"{directory}/fetchids", "--pidfile", f"{directory}/pid"]


def _fetchmail_has_seen(directory: Path, maildrop: Maildrop, uidls: list[str]) -> None:
    _private(directory / "fetchids", "".join(f"{maildrop.user}@localhost {uidl}\n" for uidl in uidls))


# --- getmail6 -------------------------------------------------------------------------------------------------------


def _getmail(directory: Path, maildrop: Maildrop, delete: bool) -> list[str]:  # noqa: FBT001
    _maildir(directory)
    kind, tls = "SimplePOP3Retriever", ""
    if maildrop.ca_file:
        kind, tls = "SimplePOP3SSLRetriever", f"ca_certs = {maildrop.ca_file}"
    configuration = directory / "getmailrc"
    configuration.write_text(
        f"[retriever]\ntype = {kind}\nserver = localhost\nport = {maildrop.port}\nusername = {maildrop.user}\n"
        f"password = {PASSWORD}\n{tls}\n[destination]\ntype = Maildir\npath = {directory}/maildir/\n"
        f"[options]\nread_all = false\ndelete = {str(delete).lower()}\nreceived = false\ndelivered_to = false\nverbose = 0\n",
        encoding="utf-8",
    )
    return ["getmail", "-q", "--getmaildir", str(directory), "--rcfile", str(configuration)]


def _getmail_has_seen(directory: Path, maildrop: Maildrop, uidls: list[str]) -> None:
    lines = "".join(f"{uidl}\0{int(time.time())}\n" for uidl in uidls)
    (directory / f"oldmail-localhost-{maildrop.port}-{maildrop.user}").write_text(lines, encoding="ascii")


# --- ourselves, as a whole process ----------------------------------------------------------------------------------


def _postroom(directory: Path, maildrop: Maildrop, delete: bool) -> list[str]:  # noqa: FBT001
    found = variables(directory, {"bench": maildrop}, **({"DELETE": "after_fetch"} if delete else {}))
    _private(directory / ".env", "\n".join(f"{name}='{value}'" for name, value in found.items()))
    return [sys.executable, "-m", "daemon", "fetch"]


def _searchable(directory: Path) -> int:
    if not (directory / "postroom.db").exists():
        return 0
    with closing(sqlite3.connect(directory / "postroom.db")) as database:
        return int(database.execute("SELECT count(*) FROM messages WHERE parser_version > 0").fetchone()[0])


# --- all of them ----------------------------------------------------------------------------------------------------


def _maildir(directory: Path) -> None:
    for name in ("cur", "new", "tmp"):
        (directory / "maildir" / name).mkdir(parents=True, exist_ok=True)


def _private(file: Path, text: str) -> Path:
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")
    return file


def _in_maildir(directory: Path) -> int:
    new = directory / "maildir" / "new"
    return sum(1 for _ in new.iterdir()) if new.exists() else 0


def _in_mbox(directory: Path) -> int:
    if not (directory / "mbox").exists():
        return 0
    count, rest = 0, b""
    with (directory / "mbox").open("rb") as file:
        while chunk := file.read(CHUNK_OCTETS):
            held = rest + chunk
            count += held.count(MARK)
            rest = held[-len(MARK) + 1 :]
    return count


MBOX: Final = Peer(name="mpop, mbox", program="mpop", prepare=_mpop("mbox"), count=_in_mbox)
MAILDIR: Final = Peer(name="mpop, Maildir", program="mpop", prepare=_mpop("maildir"), count=_in_maildir)
FETCHMAIL: Final = Peer(
    name="fetchmail, mda",
    program="fetchmail",
    prepare=_fetchmail,
    count=_in_mbox,
    seen=_fetchmail_has_seen,
    is_slow=True,
)
GETMAIL: Final = Peer(
    name="getmail6, Maildir",
    program="getmail",
    prepare=_getmail,
    count=_in_maildir,
    seen=_getmail_has_seen,
    is_slow=True,
    as_user="mail",
)
FETCH: Final = Peer(name="postroom fetch, whole process", program=sys.executable, prepare=_postroom, count=_searchable)
