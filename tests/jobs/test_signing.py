"""Letters leave signed; without a key they wait; what is sent on keeps the signatures that it came with."""

from dataclasses import replace
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import text

from daemon import errors
from daemon.demo.smtp_server import SmtpServer
from daemon.jobs import check, drain, letter
from daemon.jobs.context import Context
from daemon.mail.account import Account, Dkim
from daemon.store import archive
from daemon.wire.spool import Spool
from tests.doubles import house


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("dkim") / "key.pem"
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 -- the smallest that is taken, for speed
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    file.chmod(0o600)
    return file


def signing(server: SmtpServer, key_file: Path) -> Account:
    account = house.sending(server.port)
    assert account.smtp is not None
    settings = Dkim(key_file=key_file, selector="mail", domain="example.org")
    return replace(account, smtp=replace(account.smtp, dkim=settings))


def verify(octets: bytes, key_file: Path, index: int = 0) -> bool:
    signer = letter.signer(Dkim(key_file=key_file, selector="mail", domain="example.org"))
    record = signer.record[1].encode()
    return bool(dkim.DKIM(octets, minkey=1024).verify(index, dnsfunc=lambda _name, **_wait: record))


def insert(context: Context, **columns: object) -> None:
    values = {"recipients": "bob@example.net", "account": "home"} | columns
    with context.database.transaction() as tx:
        given = ", ".join(f":{name}" for name in values)
        tx.execute(text(f"INSERT INTO outbox ({', '.join(values)}) VALUES ({given})"), values)


def test_composed_raw_and_forwarded_letters_leave_signed(
    context: Context, smtp_server: SmtpServer, key_file: Path
) -> None:
    """The signature that an archived message came with holds behind the one that it leaves with."""
    signer = letter.signer(Dkim(key_file=key_file, selector="mail", domain="example.org"))
    source = signer.sign(b"From: carol@example.org\r\nSubject: of old\r\n\r\n8-bit \xe4  \r\n.\r\n\r\n")
    with context.database.transaction() as tx:
        archive.add(tx, "home", [archive.Incoming(uidl="u", spool=Spool.of(source))], context.clock())
    insert(context, subject="composed", body="Grüße.")
    insert(context, raw=b"From: anna@example.org\nSubject: raw\n\n.\n..x\n")
    insert(context, forwards=1)
    assert 3 == drain.drain(signing(smtp_server, key_file), context).sent
    composed, raw, forwarded = [one.content for one in smtp_server.received]
    for one in (composed, raw, forwarded):
        assert one.startswith(b"DKIM-Signature: ")
        assert verify(one, key_file)
    assert verify(forwarded, key_file, 1)
    assert forwarded.endswith(source)


def test_without_its_key_no_letter_leaves_and_none_fails(
    context: Context, smtp_server: SmtpServer, key_file: Path, clock: house.Clock, tmp_path: Path
) -> None:
    """A key that can't be read is like a relay that can't be used: it pauses, and rows wait with the reason."""
    insert(context, subject="x")
    gone = tmp_path / "gone.pem"
    result = drain.drain(signing(smtp_server, gone), context)
    assert isinstance(result.error, errors.SecretUnavailable)
    assert [] == smtp_server.received
    with context.database.reading() as conn:
        row = conn.execute(text("SELECT status, attempts, last_error FROM outbox")).one()
    assert ("deferred", 0, f"DKIM key file {gone}: No such file or directory") == tuple(row)
    gone.write_bytes(key_file.read_bytes())
    gone.chmod(0o600)
    clock.forward(hours=5)
    assert 1 == drain.drain(signing(smtp_server, gone), context).sent


def test_check_tries_the_key_and_says_what_to_publish(
    context: Context, smtp_server: SmtpServer, key_file: Path, tmp_path: Path
) -> None:
    good, relay = check.account(signing(smtp_server, key_file), context)
    assert ("home DKIM mail._domainkey.example.org", None, None) == (good.subject, good.error, relay.error)
    assert good.text.startswith("the key can sign; this TXT record has to be in the DNS: v=DKIM1; k=rsa; p=")
    bad, relay = check.account(signing(smtp_server, tmp_path / "gone.pem"), context)
    assert "No such file" in str(bad.error)
    assert relay.error is None
