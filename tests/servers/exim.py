"""A real Exim on loopback that delivers into one Maildir and nowhere else: PIPELINING, CHUNKING, SIZE, SMTPUTF8.

Debian's package can't be installed beside Postfix: `.ci/exim` unpacks it into .cache/exim. It runs from there as an unprivileged
user, and takes that user for its own by libnss-wrapper. Every recipient of DOMAINS is taken, except those of tests/servers/postfix.py;
gone@example.net is taken, and bounces.
"""

import grp
import os
import pwd
import re
import shutil
import time
from pathlib import Path
from typing import Final, Self

from tests.servers import child
from tests.servers.postfix import (
    DELIVERY_SECONDS,
    DOMAINS,
    GONE_LOCAL,
    LATER_LOCAL,
    OWNER,
    REFUSED_LOCAL,
    SIZE_LIMIT_OCTETS,
    Delivered,
)

ROOT: Final = Path(__file__).parents[2] / ".cache" / "exim"
PATH: Final = ROOT / "usr" / "sbin" / "exim4"
USER: Final = "Debian-exim"  # compiled in: it ends at once where nobody has that name

CONFIGURATION: Final = """\
primary_hostname = exim.example.org
exim_path = {path}
keep_environment = ^LD_ : ^NSS_WRAPPER_
spool_directory = {directory}/spool
log_file_path = {directory}/log/%s
pid_file_path = {directory}/exim.pid
domainlist ours = {domains}
never_users =
return_path_remove = false
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
smtputf8_advertise_hosts = *
message_size_limit = {size_limit}
smtp_accept_queue_per_connection = 0
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
queue_run_max = 1
begin acl
rcpt:
  deny local_parts = {refused}
       message = 5.1.1 no such person here
  defer local_parts = {later}
       message = 4.2.0 come back later
  accept domains = +ours
  deny message = 5.7.1 nothing leaves this machine
begin routers
gone:
  driver = redirect
  local_parts = {gone}
  allow_fail
  data = :fail: 5.1.1 no such mailbox here
all:
  driver = accept
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = {directory}/mail
  maildir_format
  user = {uid}
  group = {gid}
  return_path_add
  envelope_to_add
"""

PREPENDED: Final = re.compile(
    rb"Return-path: <(?P<sender>[^\n]*)>\nEnvelope-to: (?P<recipient>[^\n]*)\nReceived: [^\n]*\n(?:[ \t][^\n]*\n)*"
)


def why_not() -> str | None:
    """Say why it can't be used here, or None if it can."""
    return None if PATH.exists() else "no Exim is unpacked here: .ci/exim does it"


class Exim:
    """One running server; use as a context manager."""

    def __init__(self) -> None:
        """Nothing runs before `with`."""
        self.directory = child.directory("exim")
        (self.port,) = child.free_ports(1)
        is_root = os.geteuid() == 0
        user = pwd.getpwnam(OWNER) if is_root else pwd.getpwuid(os.geteuid())
        for name in ("spool", "log", "mail"):
            (self.directory / name).mkdir()
        values = {
            "path": PATH,
            "directory": self.directory,
            "domains": " : ".join(DOMAINS),
            "size_limit": SIZE_LIMIT_OCTETS,
            "refused": REFUSED_LOCAL,
            "later": LATER_LOCAL,
            "gone": GONE_LOCAL,
            "uid": user.pw_uid,
            "gid": user.pw_gid,
        }
        (self.directory / "exim.conf").write_text(CONFIGURATION.format(**values), encoding="utf-8")
        (self.directory / "passwd").write_text(
            f"{USER}:x:{user.pw_uid}:{user.pw_gid}::/:/bin/false\n{user.pw_name}:x:{user.pw_uid}:{user.pw_gid}::/:/bin/false\n"
        )
        group = grp.getgrgid(user.pw_gid).gr_name
        (self.directory / "group").write_text(f"{USER}:x:{user.pw_gid}:\n{group}:x:{user.pw_gid}:\n")
        libraries = next(ROOT.rglob("libnss_wrapper.so")).parent
        self._environment = {
            "LD_LIBRARY_PATH": str(libraries),
            "LD_PRELOAD": str(libraries / "libnss_wrapper.so"),
            "NSS_WRAPPER_PASSWD": str(self.directory / "passwd"),
            "NSS_WRAPPER_GROUP": str(self.directory / "group"),
        }
        self._as: list[str] = []
        if is_root:
            for path in (self.directory, *self.directory.iterdir()):
                shutil.chown(path, user.pw_uid, user.pw_gid)
            self._as = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        self._child: child.Child | None = None

    def __enter__(self) -> Self:
        # The wrapper is preloaded behind setpriv, which knows the real users.
        command = [*self._as, "env", *(f"{name}={value}" for name, value in self._environment.items()), str(PATH)]
        command += ["-C", str(self.directory / "exim.conf"), "-bdf", "-oX", f"127.0.0.1:{self.port}"]
        self._child = child.Child(command, self.directory / "start.log")
        try:
            self._child.wait_for_ports(self.port)
        except child.ServerError as error:
            raise child.ServerError(f"{error}\n{self.said()}") from error
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child is not None
        self._child.stop()
        shutil.rmtree(self.directory)

    def delivered(self, count: int, *, to: str = "") -> list[Delivered]:
        """Wait until `count` letters (for recipients that contain `to`) lie in the Maildir, and return all of those."""
        deadline = time.monotonic() + DELIVERY_SECONDS
        while True:
            found = [_read(file.read_bytes()) for file in (self.directory / "mail" / "new").glob("*")]
            found = [one for one in found if to in one.recipient]
            if len(found) >= count or time.monotonic() > deadline:
                return sorted(found, key=lambda one: (one.recipient, one.octets))
            time.sleep(0.05)

    def said(self) -> str:
        """Return the end of the server's log."""
        log = self.directory / "log" / "main"
        return log.read_text(encoding="utf-8", errors="replace")[-4000:] if log.exists() else ""


def _read(octets: bytes) -> Delivered:
    """Take off what Exim put before a letter; give it CRLF again."""
    found = PREPENDED.match(octets)
    assert found, octets[:1000]
    return Delivered(
        recipient=found["recipient"].decode(),
        sender=found["sender"].decode(),
        octets=octets[found.end() :].replace(b"\n", b"\r\n"),
    )
