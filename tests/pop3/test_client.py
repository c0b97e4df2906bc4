"""The client against a well-behaved server: everything arrives, in windows where the server allows it."""

import hashlib
import random
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from daemon import errors
from daemon.demo.pop3_server import Pop3Server
from daemon.pop3 import window as window_module
from daemon.pop3.client import Client, Refused
from daemon.pop3.commands import Pass, Retr
from daemon.pop3.session import Body, Session
from daemon.pop3.window import Arriving
from daemon.wire.sasl import Credentials
from daemon.wire.secret import Secret
from daemon.wire.spool import Spool
from daemon.wire.stream import Endpoint, Security
from daemon.wire.transcript import Transcript
from tests.doubles.scripted import ca_file, server_context
from tests.secrets_used import PASSWORD

ANNA = Credentials(username="anna", secret=Secret(PASSWORD))
DICE = random.Random(7)


def letters(count: int) -> list[bytes]:
    def letter(number: int) -> bytes:
        lines = [
            b"." * DICE.randrange(3) + DICE.randbytes(DICE.randrange(60)).translate(None, b"\r\n")
            for _ in range(DICE.randrange(40))
        ]
        return b"Subject: %d\r\n\r\n" % number + b"".join(line + b"\r\n" for line in lines)

    return [letter(number) for number in range(count)]


@pytest.fixture(scope="module")
def mail() -> list[bytes]:
    return letters(1500)


@pytest.fixture
def server(mail: list[bytes]) -> Iterator[Pop3Server]:
    one = Pop3Server({"anna": mail, "nobody": []}, PASSWORD, tls=server_context()).start()
    yield one
    one.stop()
    assert [] == one.violations
    assert [] == one.faults


def connect(
    server: Pop3Server, security: str = "plaintext", *, auth: str = "auto", folder: Path | None = None
) -> Client:
    endpoint = Endpoint(
        host="127.0.0.1",
        port=server.port,
        security=Security(security),
        ca_file=ca_file(folder) if folder else None,
        timeout_seconds=10,
    )
    return Client.connect(endpoint, ANNA, auth=auth, transcript=Transcript("s", "a"))


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("security", ["plaintext", "starttls"])
def test_everything_arrives_octet_for_octet(
    server: Pop3Server, mail: list[bytes], tmp_path: Path, security: str, *, pipelining: bool
) -> None:
    if not pipelining:
        server.features.discard("PIPELINING")
    with closing(connect(server, security, folder=tmp_path)) as client:
        listing = client.listing()
        assert (len(mail), sum(map(len, mail)), True) == (listing.count, listing.octets, listing.has_uidl)
        assert [len(one) for one in mail] == [entry.octets for entry in listing.entries]
        got = [
            (entry.number, spool.sha256)
            for entry, spool in client.retrieve(listing.entries)
            if isinstance(spool, Spool)
        ]
        assert [(n, hashlib.sha256(one).hexdigest()) for n, one in enumerate(mail, start=1)] == got
        client.quit()


@pytest.mark.parametrize("auth", ["auto", "user", "plain", "login"])
def test_every_way_to_log_in(server: Pop3Server, auth: str) -> None:
    with closing(connect(server, auth=auth)) as client:
        client.noop()
        assert len(server.maildrop("anna").messages) == client.stat().count
        client.quit()


def test_windows_are_bounded_in_octets_too(
    server: Pop3Server, mail: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_module, "WINDOW_OCTETS", 3000)
    with closing(connect(server)) as client:
        got = [spool for _entry, spool in client.retrieve(client.listing().entries)]
        assert len(mail) == len(got)
        client.quit()


def test_deletes_count_at_quit_and_not_after_reset(server: Pop3Server, mail: list[bytes]) -> None:
    with closing(connect(server)) as client:
        assert [(1, None), (2, None)] == client.delete([1, 2])
        client.reset()
        answers = client.delete([5, *range(5, 900)])
        assert [(5, None)] == answers[:1]
        assert isinstance(answers[1][1], Refused)
        assert 895 == sum(refused is None for _number, refused in answers)
        client.quit()
    assert [*mail[:4], *mail[899:]] == server.maildrop("anna").contents


def test_tops_give_headers(server: Pop3Server, mail: list[bytes]) -> None:
    with closing(connect(server)) as client:
        entries = client.listing().entries[:700]
        got = [spool.getvalue() for _entry, spool in client.tops(entries, 0) if isinstance(spool, Spool)]
        assert [one.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" for one in mail[:700]] == got
        assert client.top(3, 1).getvalue().startswith(b"Subject: 2\r\n\r\n")
        client.quit()


def test_leaving_the_iterator_midway_leaves_only_close(server: Pop3Server) -> None:
    with closing(connect(server)) as client:
        messages = client.retrieve(client.listing().entries)
        next(messages)
        with pytest.raises(errors.OutOfState, match="under way"):
            client.quit()


def test_a_large_message_goes_through_a_file(server: Pop3Server) -> None:
    content = b"Subject: large\r\n\r\n" + (b"." + b"x" * 75 + b"\r\n") * 200_000
    server.maildrop("nobody").add(content)
    endpoint = Endpoint(host="127.0.0.1", port=server.port, security=Security.PLAINTEXT, timeout_seconds=10)
    nobody = Credentials(username="nobody", secret=Secret(PASSWORD))
    with closing(Client.connect(endpoint, nobody, transcript=Transcript("s", "a"))) as client:
        ((_entry, spool),) = client.retrieve(client.listing().entries)
        assert isinstance(spool, Spool)
        with spool:
            assert not spool.is_in_memory
            assert (len(content), hashlib.sha256(content).hexdigest()) == (spool.octets, spool.sha256)
        client.quit()


def test_a_huge_message_needs_little_memory() -> None:
    session, arriving = Session(), Arriving(None)
    session.receive(b"+OK\r\n")
    session.send(Pass(Secret(PASSWORD)))
    session.receive(b"+OK\r\n")
    session.send(Retr(1))
    session.receive(b"+OK\r\n")
    piece = (b".." + b"x" * 74 + b"\r\n") * 3300
    tracemalloc.start()
    try:
        for _ in range(800):
            for event in session.receive(piece):
                assert isinstance(event, Body)
                arriving.add(event.octets)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        arriving.close()
    assert arriving.octets > 200_000_000
    assert peak < 16_000_000


def test_a_lock_is_told_apart_from_a_wrong_password(server: Pop3Server) -> None:
    with closing(connect(server)) as holder:
        with pytest.raises(errors.MaildropLocked):
            connect(server)
        holder.quit()
    wrong = Credentials(username="anna", secret=Secret("wrong"))
    endpoint = Endpoint(host="127.0.0.1", port=server.port, security=Security.PLAINTEXT)
    with pytest.raises(errors.AuthFailed):
        Client.connect(endpoint, lambda: wrong, transcript=Transcript("s", "a"))
