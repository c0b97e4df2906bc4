"""A real Dovecot on loopback: implicit TLS on one port, STLS and plaintext on the other, one Maildir a user.

Any user name may log in with the one password; a user is a maildrop, empty until it is filled. Works as root (Dovecot's own users
do the work) and as anybody else (then everything runs as that user). Its SASL socket can serve Postfix.
"""

import getpass
import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from tests.secrets_used import PASSWORD
from tests.servers import child
from tests.servers.certificates import Certificates

PATH: Final = child.find("dovecot")
MAIL_USER: Final = "mail"  # owns the Maildirs when the server runs as root; Debian's base system has it

CONFIGURATION: Final = """\
base_dir = {run}
state_dir = {run}/state
log_path = {log}
protocols = pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <{certificates.certificate_file}
ssl_key = <{certificates.key_file}
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
first_valid_uid = 1
mail_location = maildir:{mail}/%u
mail_max_userip_connections = 100
pop3_no_flag_updates = yes
{identity}
{external}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={mail}/%u allow_all_users=yes
}}
service anvil {{
  {chroot}
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener {auth_socket} {{
    mode = 0666
  }}
}}
service pop3-login {{
  {chroot}
  service_count = 0
  process_min_avail = 1
  inet_listener pop3 {{
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = {pop3s_port}
    ssl = yes
  }}
}}
"""


EXTERNAL: Final = """\
ssl_ca = <{certificates.ca_file}
ssl_require_crl = no
ssl_verify_client_cert = yes
auth_ssl_username_from_cert = yes
passdb {{
  driver = static
  mechanisms = external
  args = nopassword=y
}}
"""


def why_not() -> str | None:
    """Say why Dovecot can't be used here, or None if it can."""
    if PATH is None:
        return "dovecot is not installed"
    version = subprocess.run([PATH, "--version"], capture_output=True, text=True, check=True).stdout.split()[0]
    if not version.startswith("2.3."):
        return f"dovecot is {version}; these tests write a configuration for 2.3 (2.4 has another language)"
    return None if _has_pop3() else "dovecot has no POP3 (Debian: dovecot-pop3d)"


def _has_pop3() -> bool:
    return any(Path(root, "dovecot/pop3-login").exists() for root in ("/usr/lib", "/usr/libexec", "/usr/local/libexec"))


class Dovecot:
    """One running server; use as a context manager."""

    def __init__(
        self,
        certificates: Certificates,
        password: str = PASSWORD,
        mechanisms: tuple[str, ...] = ("plain", "login"),
        *,
        more: str = "",
    ) -> None:
        """`certificates`: what it shows on both ports.  mechanisms: `external` asks for a client certificate, and takes it for a login.

        more: lines of configuration for a test's own purpose.
        """
        self.directory = child.directory("dovecot")
        self.mail = self.directory / "mail"
        self.mail.mkdir()
        self.log = self.directory / "dovecot.log"
        self.auth_socket = self.directory / "auth"
        self.pop3_port, self.pop3s_port = child.free_ports(2)
        self._is_root = os.geteuid() == 0
        self._user = MAIL_USER if self._is_root else getpass.getuser()
        self._group = grp.getgrgid(pwd.getpwnam(self._user).pw_gid).gr_name
        # Dovecot's login processes drop into users and a chroot of their own, which only root can give them.
        identity = f"default_internal_user = {self._user}\ndefault_login_user = {self._user}\ndefault_internal_group = {self._group}"
        self._configuration = self.directory / "dovecot.conf"
        self._configuration.write_text(
            CONFIGURATION.format(
                run=self.directory / "run",
                log=self.log,
                mail=self.mail,
                certificates=certificates,
                identity="" if self._is_root else identity,
                chroot="" if self._is_root else "chroot =",
                password=password,
                mechanisms=" ".join(mechanisms),
                external=EXTERNAL.format(certificates=certificates) if "external" in mechanisms else "",
                user=self._user,
                group=self._group,
                auth_socket=self.auth_socket,
                pop3_port=self.pop3_port,
                pop3s_port=self.pop3s_port,
            )
            + more,
            encoding="utf-8",
        )
        self._child: child.Child | None = None

    def __enter__(self) -> Self:
        assert PATH is not None
        self.own(self.mail)
        self._child = child.Child([PATH, "-F", "-c", self._configuration], self.directory / "start.log")
        try:
            self._child.wait_for_ports(self.pop3_port, self.pop3s_port)
        except child.ServerError as error:
            raise child.ServerError(f"{error}\n{self.said()}") from error
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child is not None
        self._child.stop()
        shutil.rmtree(self.directory)

    # --- maildrops --------------------------------------------------------------------------------------------------

    def fill(self, user: str, messages: Iterable[bytes], *, start: int | None = None) -> None:
        """Put messages into the user's maildrop, octet for octet; what is there already stays before them.

        start: the number of the first one; as many as are there, if not given.
        """
        maildir = self.mail / user
        for name in ("", "tmp", "cur", "new"):
            (maildir / name).mkdir(exist_ok=True)
            self.own(maildir / name)
        for number, octets in enumerate(messages, start=len(self.files(user)) if start is None else start):
            # Dovecot numbers new files in the order of their time stamps.
            file = maildir / "tmp" / f"{1_700_000_000 + number}.M{number}.postroom"
            file.write_bytes(octets)
            self.own(file)
            file.rename(maildir / "new" / file.name)

    def files(self, user: str) -> list[Path]:
        """Return the files of the user's messages, in the server's order."""
        found = (file for name in ("new", "cur") for file in (self.mail / user / name).glob("*"))
        return sorted(found, key=lambda file: int(file.name.partition(".")[0]))

    def contents(self, user: str) -> list[bytes]:
        """Return the octets of the user's messages, in the server's order."""
        return [file.read_bytes() for file in self.files(user)]

    def empty(self, user: str) -> None:
        """Remove the user's maildrop with everything the server knows of it."""
        shutil.rmtree(self.mail / user, ignore_errors=True)

    def forget(self, user: str) -> None:
        """Let the server forget its UIDs, as after a restore: the next session gives every message another UIDL."""
        for file in [*(self.mail / user).glob("dovecot-uidlist*"), *(self.mail / user).glob("dovecot.*")]:
            file.unlink()

    def said(self) -> str:
        """Return the end of the server's log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:] if self.log.exists() else ""

    def own(self, path: Path) -> None:
        """Give a file of a maildrop to the user that the server works as."""
        if self._is_root:
            shutil.chown(path, self._user, self._group)
