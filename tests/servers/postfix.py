"""A real Postfix on loopback that delivers into one Maildir and nowhere else.

Three doors: `plain_port` (no TLS, no login), `starttls_port` (STARTTLS and a login are demanded, as a submission server
does), `tls_port` (the same under implicit TLS). Logins are asked of Dovecot's SASL socket. There is no SMTP client among its
services, so that nothing can leave the machine, and no name is looked up. It has a configuration, a queue and a log of its
own; the machine's Postfix is not touched. Postfix's master insists on being root.

Every recipient of DOMAINS is taken, except REFUSED_LOCAL and LATER_LOCAL; GONE_LOCAL is taken, and bounces.
"""

import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.servers import child
from tests.servers.certificates import Certificates

DOMAINS: Final = ("example.org", "example.net")
REFUSED_LOCAL: Final = "refused"  # refused@example.net: 550 5.1.1
LATER_LOCAL: Final = "later"  # later@example.net: 450 4.2.0
GONE_LOCAL: Final = "gone"  # gone@example.net: 250, and then a bounce with 5.1.1
SIZE_LIMIT_OCTETS: Final = 20_000_000
OWNER: Final = "nobody"  # writes the Maildir; virtual(8) refuses to be root
DELIVERY_SECONDS: Final = 20.0
DAEMON_DIRECTORIES: Final = ("/usr/lib/postfix/sbin", "/usr/libexec/postfix")

PATH: Final = child.find("postfix")

MAIN: Final = """\
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {directory}/data
daemon_directory = {daemons}
command_directory = {commands}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {log}
maillog_file_prefixes = {directory}
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C

myhostname = postfix.example.org
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
smtpd_peername_lookup = no
default_transport = error:nothing leaves this machine
relay_transport = error:nothing leaves this machine
local_transport = error:nothing is local here
alias_maps =
alias_database =
local_recipient_maps =

virtual_mailbox_domains = {domains}
virtual_mailbox_base = {directory}/mail
# gone is taken, since smtpd looks no further than the alias; the mailbox behind it is one that virtual(8) does not know.
virtual_alias_maps = inline:{{ {{ {gone}@example.net = missing@example.net }} }}
virtual_mailbox_maps = regexp:{directory}/etc/mailboxes
virtual_mailbox_limit = 0
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
message_size_limit = {size_limit}

smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access inline:{{
    {{ {refused}@example.net = 550 5.1.1 no such person here }}, {{ {later}@example.net = 450 4.2.0 come back later }} }}, permit
# Nothing of a letter is taken out, and nothing put in below the trace fields, so that what we put in is what is read back.
message_drop_headers =
local_header_rewrite_clients =
smtpd_tls_cert_file = {certificate_file}
smtpd_tls_key_file = {key_file}
smtpd_sasl_type = dovecot
smtpd_sasl_path = {auth_socket}
smtpd_sasl_security_options = noanonymous
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_error_sleep_time = 0
in_flow_delay = 0
"""

# name, type, private, unprivileged, chroot, wake up, most processes, command
MASTER: Final = """\
127.0.0.1:{plain_port} inet n - n - - smtpd
127.0.0.1:{starttls_port} inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
127.0.0.1:{tls_port} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


def why_not() -> str | None:
    """Say why Postfix can't be used here, or None if it can."""
    if PATH is None:
        return "postfix is not installed"
    return None if os.geteuid() == 0 else "postfix's master runs as root only"


@dataclass(frozen=True, slots=True)
class Delivered:
    """A letter as it lies in the Maildir: who it was for and from (the envelope), and what was handed in, with CRLF."""

    recipient: str
    sender: str
    octets: bytes


class Postfix:
    """One running server; use as a context manager."""

    def __init__(self, certificates: Certificates, auth_socket: Path, *, discards: bool = False) -> None:
        """`auth_socket`: Dovecot's, see tests/servers/dovecot.py.  discards: what was queued is thrown away, and counted."""
        self.directory = child.directory("postfix")
        self.log = self.directory / "mail.log"
        self.plain_port, self.starttls_port, self.tls_port = child.free_ports(3)
        owner = pwd.getpwnam(OWNER)
        self._configuration = self.directory / "etc"
        for name in ("etc", "queue", "data", "mail"):
            (self.directory / name).mkdir()
        shutil.chown(self.directory / "data", "postfix")
        shutil.chown(self.directory / "mail", owner.pw_uid, owner.pw_gid)
        self._daemons = next(Path(one) for one in DAEMON_DIRECTORIES if Path(one, "master").exists())
        assert PATH is not None
        values = {
            "directory": self.directory,
            "queue": self.directory / "queue",
            "daemons": self._daemons,
            "commands": PATH.parent,
            "log": self.log,
            "domains": ", ".join(DOMAINS),
            "uid": owner.pw_uid,
            "gid": owner.pw_gid,
            "size_limit": SIZE_LIMIT_OCTETS,
            "refused": REFUSED_LOCAL,
            "later": LATER_LOCAL,
            "gone": GONE_LOCAL,
            "certificate_file": certificates.certificate_file,
            "key_file": certificates.key_file,
            "auth_socket": auth_socket,
            "plain_port": self.plain_port,
            "starttls_port": self.starttls_port,
            "tls_port": self.tls_port,
        }
        main = MAIN.format(**values) + ("virtual_transport = discard:\n" if discards else "")
        (self._configuration / "main.cf").write_text(main, encoding="utf-8")
        (self._configuration / "mailboxes").write_text("!/^missing@example\\.net$/ all/\n", encoding="utf-8")
        (self._configuration / "master.cf").write_text(MASTER.format(**values), encoding="utf-8")
        self._child: child.Child | None = None

    def __enter__(self) -> Self:
        assert PATH is not None
        # `postfix check` makes the queue's folders. The master is started by itself: `start-fg` puts a shell before it, which
        # does not pass SIGTERM on.
        done = subprocess.run([PATH, "-c", self._configuration, "check"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise child.ServerError(f"postfix check: {done.stderr}\n{self.said()}")
        command: list[str | Path] = [self._daemons / "master", "-c", self._configuration, "-s"]
        self._child = child.Child(
            command, self.directory / "start.log", {**os.environ, "MAIL_CONFIG": str(self._configuration)}
        )
        try:
            self._child.wait_for_ports(self.plain_port, self.starttls_port, self.tls_port)
        except child.ServerError as error:
            raise child.ServerError(f"{error}\n{self.said()}") from error
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child is not None
        self._child.stop()
        shutil.rmtree(self.directory)

    # --- what arrived -----------------------------------------------------------------------------------------------

    def delivered(self, count: int, *, to: str = "") -> list[Delivered]:
        """Wait until `count` letters (for recipients that contain `to`) lie in the Maildir, and return all of those."""
        deadline = time.monotonic() + DELIVERY_SECONDS
        while len(found := [one for one in self._all() if to in one.recipient]) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return sorted(found, key=lambda one: (one.recipient, one.octets))

    def _all(self) -> Iterator[Delivered]:
        for file in (self.directory / "mail" / "all" / "new").glob("*"):
            yield read(file.read_bytes())

    def discarded(self, count: int) -> int:
        """Return how many letters were thrown away so far; waits for so many."""
        deadline = time.monotonic() + DELIVERY_SECONDS
        while (found := self.log.read_bytes().count(b"status=sent")) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def said(self) -> str:
        """Return the end of the server's log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:] if self.log.exists() else ""


PREPENDED: Final = re.compile(
    rb"Return-Path: <(?P<sender>[^\n]*)>\n"
    rb"X-Original-To: [^\n]*\n"
    rb"Delivered-To: (?P<recipient>[^\n]*)\n"
    rb"Received: [^\n]*\n(?:[ \t][^\n]*\n)*"
)


def read(octets: bytes) -> Delivered:
    """Take off what smtpd and virtual(8) put before a letter; give it CRLF again (a Maildir has LF)."""
    found = PREPENDED.match(octets)
    assert found, octets[:1000]
    return Delivered(
        recipient=found["recipient"].decode(),
        sender=found["sender"].decode(),
        octets=octets[found.end() :].replace(b"\n", b"\r\n"),
    )
