"""The relay's client against servers that are old, wrong, hostile or cut off; each dialogue is a file."""

from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from daemon import errors
from daemon.mail.envelope import Envelope, Parcel
from daemon.smtp.relay import LMTP, SMTP, Relay
from daemon.smtp.replies import Deferred, Failed, InDoubt, Outcome, Sent
from daemon.wire.stream import Endpoint, Security
from daemon.wire.transcript import Transcript
from tests.doubles.dialogue import DIALOGUES
from tests.doubles.scripted import Scripted
from tests.doubles.smtp_double import send

BOB, NO, LATER = "bob@example.net", "no@example.net", "later@example.net"
CONTENT = b"Subject: x\r\n\r\n.dot\r\nText.\r\n"

OUTCOMES = {
    "partial_rcpt": (Sent, Failed, Deferred),
    "only_helo": (Sent, Sent, Sent),
    "split_replies": (Sent, Sent, Sent),
    "cut_after_dot": (InDoubt, InDoubt, InDoubt),
    "half_reply_after_dot": (InDoubt, InDoubt, InDoubt),
    "hangs_up_at_data": (Deferred, Deferred, Deferred),
}
REFUSALS: dict[str, tuple[Security, type[errors.PostroomError]]] = {
    "busy_greeting": (Security.PLAINTEXT, errors.RelayRefused),
    "endless_reply": (Security.PLAINTEXT, errors.ProtocolViolation),
    "endless_line": (Security.PLAINTEXT, errors.ProtocolViolation),
    "not_smtp": (Security.PLAINTEXT, errors.ProtocolViolation),
    "silent": (Security.PLAINTEXT, errors.TimedOut),
    "starttls_stripped": (Security.STARTTLS, errors.TlsFailed),
    "starttls_refused": (Security.STARTTLS, errors.TlsFailed),
    "starttls_injected": (Security.STARTTLS, errors.PlaintextInjected),
}
# What becomes of three letters, in the order in which they are handed out, and how it ends.
CARRIED: dict[str, tuple[list[tuple[type[Outcome], ...]], type[errors.PostroomError] | None]] = {
    "chunks_unknown": ([(Sent,)] * 3, None),
    "chunks_refused": ([(Sent,), (Failed,), (Deferred,)], None),
    "cut_in_a_window": ([(Sent,), (InDoubt,), (InDoubt,)], errors.ConnectionLost),
    "cut_with_refused": ([(Sent,), (Failed,), (InDoubt,)], errors.ConnectionLost),
    "half_a_reply_between_letters": ([(Sent,)] * 3, None),
    "lying_pipelining": ([(Sent,)], errors.TimedOut),
    "421_in_a_flight": ([(Sent,)], errors.RelayRefused),
    "lmtp_mixed": ([(Sent, Failed, Deferred), (Failed, Sent, Deferred)], None),
}


def connect(port: int, security: Security = Security.PLAINTEXT, protocol: str = SMTP) -> Relay:
    endpoint = Endpoint(host="127.0.0.1", port=port, security=security, timeout_seconds=1.0)
    return Relay.connect(
        endpoint, None, helo_name="house.example", transcript=Transcript("s", "home"), protocol=protocol
    )


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_recipient_gets_the_outcome_that_the_dialogue_gives_it(name: str) -> None:
    marks: list[str] = []
    with Scripted(Path(f"smtp_{name}.txt")) as server, closing(connect(server.port)) as relay:
        envelope = Envelope(sender="anna@example.org", recipients=(BOB, NO, LATER))
        outcomes = send(relay, envelope, CONTENT, before_final_dot=lambda: marks.append("committing"))
        relay.quit()
    assert OUTCOMES[name] == tuple(type(outcomes[to]) for to in (BOB, NO, LATER))
    assert (["committing"] if name != "hangs_up_at_data" else []) == marks
    assert all(CONTENT == body.replace(b"\r\n..", b"\r\n.") for body in server.bodies)


@pytest.mark.parametrize("name", CARRIED)
def test_letters_that_are_carried_at_once_have_the_outcomes_that_the_dialogue_gives_them(name: str) -> None:
    expected, error = CARRIED[name]
    is_lmtp = name.startswith("lmtp")
    envelope = Envelope(sender="anna@example.org", recipients=(BOB, NO, LATER) if is_lmtp else (BOB,))
    parcels = [Parcel(key=key, envelope=envelope, content=CONTENT) for key in range(2 if is_lmtp else 3)]
    came: list[tuple[type[Outcome], ...]] = []
    with (
        Scripted(Path(f"smtp_carry_{name}.txt")) as server,
        closing(connect(server.port, protocol=LMTP if is_lmtp else SMTP)) as relay,
        pytest.raises(error) if error is not None else nullcontext(),
    ):
        for one, outcomes in relay.carry(iter(parcels), before_end=lambda _: None, window=lambda: 3):
            assert len(came) == one.key
            came.append(tuple(type(outcomes[to]) for to in envelope.recipients))
    assert expected == came


@pytest.mark.parametrize("name", REFUSALS)
def test_a_relay_that_can_not_be_used_is_one_clear_line_and_nothing_is_sent(name: str) -> None:
    security, refusal = REFUSALS[name]
    with Scripted(Path(f"smtp_{name}.txt")) as server, pytest.raises(refusal) as caught:
        connect(server.port, security)
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any(line.startswith(b"MAIL") for line in server.heard)


def test_every_dialogue_is_played() -> None:
    there = {path.stem.removeprefix("smtp_") for path in DIALOGUES.glob("smtp_*.txt")}
    assert there == OUTCOMES.keys() | REFUSALS.keys() | {f"carry_{name}" for name in CARRIED}
