"""No trace, log or output of the whole suite holds a test password, in any of the forms it travels in.

The test comes last, and sees what was said until then; `conftest.py` searches once more when every process has ended.
"""

from pathlib import Path

import pytest

from tests import suite_log
from tests.secrets_used import PASSWORD, TOKEN


def test_no_password_is_in_any_trace_or_log_of_the_suite() -> None:
    assert [] == suite_log.leaks()


def test_a_password_would_be_found_in_the_log_of_any_process_in_any_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite_log, "DIRECTORY", tmp_path)
    (tmp_path / "events-1.log").write_bytes(b"PASS ***\n")
    names = []
    for number, form in enumerate(form for secret in (PASSWORD, TOKEN) for form in suite_log.forms(secret)):
        names.append(f"events-2{number:02}.log")
        (tmp_path / names[-1]).write_bytes(b"PASS " + form + b"\n")
    assert names == suite_log.leaks()
