"""The unit and its companions are what systemd takes, and as tight as promised."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from daemon import app, settings
from tests.servers import child

SYSTEMD: Final = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT: Final = SYSTEMD / "postroom.service"
MOST_EXPOSURE_TENTHS: Final = 13  # 1.3 of 10; without the block of Protect… lines it is 9.2


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)


def unit() -> dict[str, str]:
    """Return the unit's assignments; of a key that stands more than once, the last."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def made_by_sysusers(root: Path) -> dict[str, list[list[str]]]:
    """Run sysusers.d below `root`; return the fields of passwd and group."""
    (root / "etc").mkdir()
    done = run("systemd-sysusers", f"--root={root}", SYSTEMD / "postroom.sysusers.conf")
    assert 0 == done.returncode, done.stderr
    return {
        file: [line.split(":") for line in (root / "etc" / file).read_text(encoding="utf-8").splitlines()]
        for file in ("passwd", "group")
    }


def test_the_exposure_is_at_most_what_the_readme_says() -> None:
    child.need_program("systemd-analyze")
    done = run("systemd-analyze", "security", "--offline=yes", f"--threshold={MOST_EXPOSURE_TENTHS}", UNIT)
    assert (0, "") == (done.returncode, done.stderr), done.stdout[-2000:]


def test_systemd_knows_every_key_of_the_unit(tmp_path: Path) -> None:
    """`verify` exits with 0 on an unknown key; only its stderr tells."""
    child.need_program("systemd-analyze")
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    assert "ExecStart=/opt/postroom/bin/postroom run\n" in text
    copy.write_text(text.replace("/opt/postroom/bin/postroom", sys.executable), encoding="utf-8")
    done = run("systemd-analyze", "verify", "--man=no", copy)
    assert (0, "") == (done.returncode, done.stderr)


def test_a_misspelt_key_would_be_found(tmp_path: Path) -> None:
    child.need_program("systemd-analyze")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text(encoding="utf-8") + "\n[Service]\nProtectKittens=yes\n", encoding="utf-8")
    assert "ProtectKittens" in run("systemd-analyze", "verify", "--man=no", copy).stderr


def test_systemd_waits_longer_than_the_daemon_needs_to_stop() -> None:
    assert app.GRACE_SECONDS < int(unit()["TimeoutStopSec"].removesuffix("s"))


def test_sysusers_makes_the_user_and_the_group_of_the_unit(tmp_path: Path) -> None:
    child.need_program("systemd-sysusers")
    made = made_by_sysusers(tmp_path)
    assert unit()["User"] in [fields[0] for fields in made["passwd"]]
    assert unit()["Group"] in [fields[0] for fields in made["group"]]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
def test_tmpfiles_makes_the_directories_with_their_owners(tmp_path: Path) -> None:
    child.need_program("systemd-tmpfiles")
    child.need_program("systemd-sysusers")
    postroom = next(int(fields[2]) for fields in made_by_sysusers(tmp_path)["passwd"] if fields[0] == "postroom")
    done = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", SYSTEMD / "postroom.tmpfiles.conf")
    assert (0, "") == (done.returncode, done.stderr)
    found = {}
    expected = {
        "etc/postroom": ("0o755", 0),
        "etc/postroom/postroom.env": ("0o640", postroom),
        "etc/postroom/credentials": ("0o700", 0),
        "etc/postroom/credentials.encrypted": ("0o700", 0),
        "var/lib/postroom": ("0o2770", postroom),
        "var/lib/postroom/backups": ("0o700", postroom),
    }
    for path in expected:
        status = (tmp_path / path).stat()
        found[path] = (oct(status.st_mode & 0o7777), status.st_uid)
    assert expected == found


def test_the_example_of_settings_loads_with_its_credential(tmp_path: Path) -> None:
    (tmp_path / "password_home").write_text("from a credential\n", encoding="utf-8")
    loaded = settings.load({"CREDENTIALS_DIRECTORY": str(tmp_path)}, SYSTEMD / "postroom.env.example")
    pop3 = loaded.accounts["home"].pop3
    assert pop3 is not None
    assert pop3.password is not None
    assert "from a credential" == pop3.password.read().reveal()


@pytest.mark.parametrize("script", ["install", "uninstall", "postroom"])
def test_a_script_is_one_for_every_sh(script: str) -> None:
    assert os.access(SYSTEMD / script, os.X_OK)
    done = run("sh", "-n", SYSTEMD / script)
    assert (0, "") == (done.returncode, done.stderr)


def test_the_installer_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "other.whl").touch()
    for words, said in (((), "name one wheel"), (("--wat",), "no option --wat"), ((tmp_path / "no.whl",), "no wheel")):
        done = run(SYSTEMD / "install", *words)
        assert 1 == done.returncode
        assert said in done.stderr or "only root" in done.stderr
