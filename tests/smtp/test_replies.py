"""What a relay's reply means for a recipient."""

import pytest

from daemon.smtp.replies import Deferred, Failed, Reply, Sent, Stage, outcome

TEXTS = [
    (550, ["5.1.1 no such user"], Reply(code=550, enhanced="5.1.1", text="no such user"), "550 5.1.1 no such user"),
    (550, ["no such user"], Reply(code=550, enhanced=None, text="no such user"), "550 no such user"),
    (
        550,
        ["5.1.1 The address", "5.1.1 does not  exist.", "5.1.1"],
        Reply(code=550, enhanced="5.1.1", text="The address does not exist."),
        "550 5.1.1 The address does not exist.",
    ),
    (
        550,
        ["5.1.1 one", "5.7.1 other"],
        Reply(code=550, enhanced="5.1.1", text="one 5.7.1 other"),
        "550 5.1.1 one 5.7.1 other",
    ),
    (250, [""], Reply(code=250, enhanced=None, text=""), "250"),
    (250, [], Reply(code=250, enhanced=None, text=""), "250"),
    (250, ["5.1.10"], Reply(code=250, enhanced="5.1.10", text=""), "250 5.1.10"),
    (250, ["2.0.0.1 is no code"], Reply(code=250, enhanced=None, text="2.0.0.1 is no code"), "250 2.0.0.1 is no code"),
    (250, ["3.0.0 is none"], Reply(code=250, enhanced=None, text="3.0.0 is none"), "250 3.0.0 is none"),
]


@pytest.mark.parametrize(("code", "lines", "expected", "shown"), TEXTS, ids=[case[3] for case in TEXTS])
def test_a_reply_is_codes_and_one_line(code: int, lines: list[str], expected: Reply, shown: str) -> None:
    reply = Reply.of(code, lines)
    assert expected == reply
    assert shown == str(reply)


def test_an_essay_is_cut() -> None:
    assert 1000 == len(Reply.of(550, ["word " * 1000]).text)


def test_our_own_words_have_no_code() -> None:
    assert "cut" == str(Reply.ours("cut"))


MEANINGS = [
    ("250 2.0.0 ok", Stage.DOT, Sent),
    ("250 5.0.0 odd, but taken", Stage.DOT, Sent),
    ("450 4.2.0 greylisted", Stage.RCPT, Deferred),
    ("450 greylisted", Stage.RCPT, Deferred),
    ("451 4.3.0 trouble", Stage.MAIL, Deferred),
    ("452 4.3.1 no room", Stage.DOT, Deferred),
    ("550 5.1.1 nobody", Stage.RCPT, Failed),
    ("550 nobody", Stage.RCPT, Failed),
    ("554 5.7.1 spam", Stage.DOT, Failed),
    ("550 4.7.1 later", Stage.RCPT, Deferred),
    ("451 5.7.1 never", Stage.RCPT, Failed),
    ("550 2.0.0 nonsense", Stage.RCPT, Failed),
    ("552 too many recipients", Stage.RCPT, Deferred),
    ("552 5.5.3 too many recipients", Stage.RCPT, Deferred),
    ("452 4.5.3 too many recipients", Stage.RCPT, Deferred),
    ("554 5.5.3 too many recipients", Stage.RCPT, Deferred),
    ("552 5.2.2 mailbox full", Stage.RCPT, Failed),
    ("552 5.3.4 too big", Stage.MAIL, Failed),
    ("552 too big", Stage.DOT, Failed),
    ("421 4.3.2 closing", Stage.DOT, Deferred),
    ("421 5.7.0 go away", Stage.RCPT, Deferred),
    ("530 5.7.0 log in first", Stage.DOT, Deferred),
    ("535 5.7.8 who are you?", Stage.RCPT, Deferred),
]


@pytest.mark.parametrize(("line", "stage", "expected"), MEANINGS, ids=[f"{line} at {at}" for line, at, _ in MEANINGS])
def test_a_reply_has_one_meaning_at_each_stage(line: str, stage: Stage, expected: type) -> None:
    reply = Reply.of(int(line[:3]), [line[4:]])
    assert expected(reply) == outcome(reply, stage)
