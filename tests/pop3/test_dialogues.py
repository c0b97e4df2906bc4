"""The client against servers that are wrong, slow, hostile or cut off; each dialogue is a file."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from daemon import errors
from daemon.mail.maildrop import Entry
from daemon.pop3 import session as session_module
from daemon.pop3.client import Client, Refused
from daemon.wire.sasl import Credentials
from daemon.wire.secret import Secret
from daemon.wire.spool import Spool
from daemon.wire.stream import Endpoint, Security
from daemon.wire.transcript import Transcript
from tests import suite_log
from tests.doubles.dialogue import DIALOGUES, Dialogue
from tests.doubles.scripted import Scripted, ca_file
from tests.secrets_used import PASSWORD

ANNA = Credentials(username="anna", secret=Secret(PASSWORD))


class Played:
    """A dialogue that is being played, and what the client's transcript says of it."""

    def __init__(self, server: Scripted, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.transcript = Transcript("test", "work")

    def connect(
        self,
        security: Security = Security.PLAINTEXT,
        seconds: float = 5,
        deadline: float | None = None,
        language: str | None = None,
    ) -> Client:
        endpoint = Endpoint(
            host="127.0.0.1",
            port=self.server.port,
            security=security,
            ca_file=ca_file(self.folder),
            timeout_seconds=seconds,
        )
        return Client.connect(endpoint, ANNA, language=language, transcript=self.transcript, deadline=deadline)


Play = Callable[[str], AbstractContextManager[Played]]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    @contextmanager
    def playing(name: str) -> Iterator[Played]:
        with Scripted(Path(f"pop3_{name}.txt")) as server:
            played = Played(server, tmp_path)
            try:
                yield played
            finally:
                suite_log.keep(played.transcript.text())

    return playing


def fetched(client: Client, *entries: Entry, **limits: int) -> list[bytes | str]:
    found: list[bytes | str] = []
    for _entry, got in client.retrieve(entries, **limits):
        if isinstance(got, Spool):
            found.append(got.getvalue())
            got.close()
        else:
            found.append(got.reply)
    return found


def entry(number: int, octets: int | None = 10) -> Entry:
    return Entry(number=number, uidl=str(number), octets=octets)


@pytest.mark.parametrize(
    ("name", "security", "kind", "says"),
    [
        ("stls_stripped", "starttls", errors.TlsFailed, "does not offer STLS"),
        ("stls_refused", "starttls", errors.TlsFailed, "refused STLS"),
        ("stls_injected", "starttls", errors.PlaintextInjected, "behind the reply to STLS"),
        ("login_in_use", "plaintext", errors.MaildropLocked, "another client"),
        ("login_auth_refused", "plaintext", errors.AuthFailed, "USERNAME and PASSWORD"),
        ("login_login_delay", "plaintext", errors.LoginTooSoon, "POLL"),
        ("login_sys_temp", "plaintext", errors.ServerTrouble, "passing fault"),
        ("login_sys_perm", "plaintext", errors.ServerBroken, "damaged"),
        ("login_locked_by_words", "plaintext", errors.MaildropLocked, "another client"),
        ("login_refused_by_words", "plaintext", errors.AuthFailed, "invalid password"),
        ("greeting_refused", "plaintext", errors.ServerTrouble, "too many connections"),
        ("not_pop3", "plaintext", errors.ProtocolViolation, "220 mail.example"),
        ("endless_line", "plaintext", errors.TooLong, "8192 octets"),
        ("dribbling_greeting", "plaintext", errors.TimedOut, "TIMEOUT"),
        ("silent", "plaintext", errors.TimedOut, "TIMEOUT"),
        ("silent", "tls", errors.TimedOut, "TIMEOUT"),
        ("not_pop3", "tls", errors.TlsFailed, "does not speak TLS"),
    ],
)
def test_a_session_that_can_not_begin(
    play: Play, name: str, security: str, kind: type[errors.PostroomError], says: str
) -> None:
    with play(name) as played, pytest.raises(kind, match=says) as caught:
        played.connect(Security(security), seconds=0.7)
    assert kind is type(caught.value)
    assert str(caught.value).startswith(f"127.0.0.1:{played.server.port}: ")
    assert "\n" not in str(caught.value)
    assert not any(line.startswith((b"PASS", b"AUTH")) for line in played.server.heard if "login" not in name)


def test_the_deadline_ends_a_session_that_still_moves(play: Play) -> None:
    with play("dribbling_greeting") as played, pytest.raises(errors.TimedOut, match="used up its time"):
        played.connect(seconds=60, deadline=time.monotonic() + 0.4)


def test_stls_then_login(play: Play) -> None:
    with play("stls") as played:
        client = played.connect(Security.STARTTLS)
        assert (client.tls_version or "").startswith("TLSv1.")
        client.quit()
    assert "> STLS" in played.transcript.text()
    assert "> AUTH PLAIN ***" in played.transcript.text()


def test_auth_login_answers_whatever_is_asked(play: Play) -> None:
    with play("auth_login") as played:
        played.connect().quit()
    assert "> AUTH LOGIN\n< + ***\n> ***\n< + ***\n> ***\n< +OK in" in played.transcript.text()


def test_an_err_in_a_window_is_about_one_message(play: Play) -> None:
    with play("err_in_window") as played, closing(played.connect()) as client:
        got = list(client.retrieve([entry(1), entry(2), entry(3)]))
        client.quit()
    assert Refused(reply="-ERR [SYS/TEMP] try later", code="SYS/TEMP") == got[1][1]
    assert [b"one\r\n", b"three\r\n"] == [spool.getvalue() for _entry, spool in got if isinstance(spool, Spool)]


def test_octets_are_kept_as_they_are(play: Play) -> None:
    with play("odd_octets") as played, closing(played.connect()) as client:
        assert [b"a: b\r\n\r\n\x00\xff\xfe\n.\nno end\r\n"] == fetched(client, entry(1))
        client.quit()
    assert "no end" not in played.transcript.text()


@pytest.mark.parametrize(("name", "before"), [("cut_in_retr", [b"one\r\n"]), ("reset_in_retr", [])])
def test_a_cut_gives_what_was_whole_and_then_says_so(play: Play, name: str, before: list[bytes]) -> None:
    got: list[bytes] = []
    with play(name) as played, closing(played.connect()) as client:
        messages = client.retrieve([entry(n) for n in range(1, len(before) + 2)])
        with pytest.raises(errors.ConnectionLost, match=r"127\.0\.0\.1:"):
            got.extend(spool.getvalue() for _entry, spool in messages if isinstance(spool, Spool))
    assert before == got


def test_a_lost_reply_to_quit_is_no_success(play: Play) -> None:
    with play("cut_in_quit") as played, closing(played.connect()) as client:
        assert [(1, None)] == client.delete([1])
        with pytest.raises(errors.ConnectionLost):
            client.quit()


def test_a_refused_quit_is_no_success(play: Play) -> None:
    with play("quit_refused") as played, closing(played.connect()) as client:
        assert [(1, None), (2, Refused(reply="-ERR no such message"))] == client.delete([1, 2])
        with pytest.raises(errors.CommandRefused, match="not all") as caught:
            client.quit()
    assert "-ERR some deleted messages not removed" == caught.value.reply


def test_an_endless_reply_is_cut_off(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "MAX_LISTING_OCTETS", 1_000_000)
    with (
        play("endless_reply") as played,
        closing(played.connect()) as client,
        pytest.raises(errors.TooLong, match="reply to UIDL is longer than 1000000 octets"),
    ):
        client.listing()


def test_a_listing_full_of_lies_is_matched_by_number(play: Play) -> None:
    with play("lying_list") as played, closing(played.connect()) as client:
        listed = client.listing()
        assert (4, 320, True) == (listed.count, listed.octets, listed.has_uidl)
        assert [(1, "aaa", 120), (2, None, 0), (3, "ccc", None), (7, "ggg", None)] == [
            (one.number, one.uidl, one.octets) for one in listed.entries
        ]
        got = fetched(client, *listed.entries[:2], max_message_octets=1000)
        assert ["larger than 1000 octets: it has 9500, not the 120 that LIST said", b""] == got
        client.quit()


def test_an_old_server_is_worked_with_one_by_one(play: Play) -> None:
    with play("old_server") as played, closing(played.connect()) as client:
        listed = client.listing()
        assert (2, False, [None, None]) == (listed.count, listed.has_uidl, [one.uidl for one in listed.entries])
        with pytest.raises(errors.CommandRefused, match="TOP 1"):
            client.top(1, 0)
        assert [b"one\r\n", b"two\r\n"] == fetched(client, *listed.entries)
        client.quit()


def test_a_passing_fault_of_uidl_is_not_a_server_without_uidl(play: Play) -> None:
    with (
        play("uidl_fails") as played,
        closing(played.connect()) as client,
        pytest.raises(errors.ServerTrouble, match="to UIDL"),
    ):
        client.listing()


def test_a_server_of_bare_line_feeds_neither_hangs_nor_alters(play: Play) -> None:
    with play("bare_lf") as played, closing(played.connect()) as client:
        assert [entry(1).number] == [one.number for one in client.listing().entries]
        assert [b"a: b\n\n.dot\n"] == fetched(client, entry(1))
        client.quit()


def test_what_nobody_asked_for_is_no_reply_to_dele(play: Play) -> None:
    with play("unasked") as played, closing(played.connect()) as client:
        client.noop()
        with pytest.raises(errors.ProtocolViolation, match="without being asked"):
            client.delete([1])


def test_an_echoed_password_is_in_no_transcript(play: Play) -> None:
    with play("echoed_password") as played, pytest.raises(errors.AuthFailed):
        played.connect()
    assert PASSWORD not in played.transcript.text()
    assert "U2VzYW1l" not in played.transcript.text()
    assert "***" in played.transcript.text()


def test_abort_ends_a_waiting_session_from_outside() -> None:
    with Scripted(
        ["S: +OK", *["C-any:", "S: -ERR"], *["C-any:", "S: +OK"] * 2, *["C-any:", "S: -ERR"], "HANG"]
    ) as server:
        endpoint = Endpoint(host="127.0.0.1", port=server.port, security=Security.PLAINTEXT, timeout_seconds=30)
        client = Client.connect(endpoint, ANNA, transcript=Transcript("s", "a"))
        timer = threading.Timer(0.2, client.abort)
        timer.start()
        began = time.monotonic()
        with closing(client), pytest.raises(errors.Stopped):
            client.noop()
        timer.join()
    assert time.monotonic() - began < 5


def test_every_dialogue_is_played() -> None:
    here = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    for path in DIALOGUES.glob("pop3_*.txt"):
        is_visited = Dialogue.read(path.name).has_expectations  # by test_visits
        assert is_visited or f'"{path.stem.removeprefix("pop3_")}"' in here, path.name


def test_internationalized_mail_is_asked_for_as_it_is_and_replies_in_a_language(play: Play) -> None:
    with play("utf8_and_language") as played:
        played.connect(language="de").quit()
