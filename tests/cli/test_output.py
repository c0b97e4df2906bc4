"""What is printed is safe for a terminal, and readable by programs elsewhere."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from daemon.cli import attachment, output

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("Grüße 你好", "Grüße 你好"),
        ("a b", "a\r\n\tb"),
        ("\ufffd[31mred", "\x1b[31mred"),
        ("\ufffd]0;title\ufffd", "\x1b]0;title\x07"),
        ("invoice\ufffdfdp.exe", "invoice\u202efdp.exe"),
        ("\ufffd[2J", "\x9b[2J".replace("\x9b", "\x1b")),
        ("\ufffd2J", "\x9b2J"),
        ("x\ufffd", "x\udc80"),
    ],
)
def test_text_of_mail_can_t_steer_the_terminal(expected: str, text: str) -> None:
    assert expected == output.plain(text)


def test_a_body_keeps_its_lines() -> None:
    assert "a\nb\tc\ufffd" == output.plain("a\r\nb\tc\x1b", keep_lines=True)


@pytest.mark.parametrize(
    ("expected", "octets"),
    [
        ("", None),
        ("0 B", 0),
        ("999 B", 999),
        ("1.0 kB", 1000),
        ("52.4 MB", 52428800),
        ("123 kB", 123456),
        ("2.5 TB", 2_500_000_000_000),
    ],
)
def test_sizes_are_short(expected: str, octets: int | None) -> None:
    assert expected == output.size(octets)


@pytest.mark.parametrize(
    ("expected", "at"),
    [
        ("", None),
        ("0 s ago", NOW),
        ("3 min ago", NOW - timedelta(seconds=200)),
        ("in 2 h", NOW + timedelta(hours=2, minutes=30)),
        ("40 d ago", NOW - timedelta(days=40)),
    ],
)
def test_times_are_said_from_now(expected: str, at: datetime | None) -> None:
    assert expected == output.relative(at, NOW)


@dataclass(frozen=True)
class Row:
    id: int
    subject: str
    sent_at: datetime


def test_json_is_one_array_with_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json([Row(1, "Grüße\n", NOW), {"id": 2}])
    text = capsys.readouterr().out
    assert [{"id": 1, "subject": "Grüße\n", "sent_at": "2026-11-23T20:00:00.000Z"}, {"id": 2}] == json.loads(text)
    assert 4 == len(text.splitlines())


def test_json_of_nothing_is_an_empty_array(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json([])
    assert "[]\n" == capsys.readouterr().out


def test_a_table_elsewhere_than_on_a_terminal_is_lines_of_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("id", "subject"), [("1", "a\tb\n\x1b[0mc")], right=("id",), wide="subject")
    assert "id\tsubject\n1\ta b \ufffd[0mc\n" == capsys.readouterr().out


def test_a_table_on_a_terminal_takes_text_as_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No markup of rich's own in a subject, and no line wider than the terminal."""
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    output.print_table(("id", "subject"), [("1", "[red]你好[/red] " + "x" * 100)], wide="subject")
    text = capsys.readouterr().out
    assert "[red]你好[/red]" in text
    assert all(40 >= len(line) for line in text.splitlines())


@pytest.mark.parametrize(
    ("expected", "name"),
    [
        ("März.pdf", "März.pdf"),
        ("passwd", "../../etc/passwd"),
        ("evil.exe", "C:\\temp\\evil.exe"),
        ("bashrc", ".bashrc"),
        ("part-2.1", ""),
        ("part-2.1", None),
        ("part-2.1", ".."),
        ("part-2.1", "a/"),
        ("a_b_.txt", "a\x00b\x1b.txt"),
        ("x_y.txt", "x:y.txt"),
    ],
)
def test_a_file_s_name_from_mail_stays_in_its_directory(expected: str, name: str | None) -> None:
    assert expected == attachment.file_name(name, "2.1")


def test_a_long_file_s_name_is_cut_before_its_ending() -> None:
    name = attachment.file_name("ü" * 400 + ".pdf", "2")
    assert name.endswith("ü.pdf")
    assert 200 >= len(name.encode())


@pytest.mark.parametrize("terminal_columns", [60, 80, 120, 200])
def test_a_narrow_terminal_cuts_texts_and_never_numbers_or_times(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal_columns: int
) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(terminal_columns))
    row = ("1234567", "2026-11-23 20:00", "Mail Delivery Subsystem of some Provider", "Undelivered " * 4, "text " * 60)
    output.print_table(("id", "sent", "from", "subject", "text"), [row], right=("id",), whole=("sent",), wide="text")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("1234567   2026-11-23 20:00   Mail")
    assert all(terminal_columns >= len(line) for line in lines)


def test_an_empty_table_says_so_to_a_person_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output.print_table(("id",), [], none="nothing found")
    assert ("id\n", "") == capsys.readouterr()
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    output.print_table(("id",), [], none="nothing found")
    assert ("", "nothing found\n") == capsys.readouterr()
