"""README's views: it names all of them and all their columns, and the query beside each one runs on both databases."""

import re
from pathlib import Path

import pytest
from sqlalchemy import text

from daemon.store.database import Database
from daemon.store.dialect.views import VIEWS

SECTION = (
    (Path(__file__).parents[2] / "README.md")
    .read_text(encoding="utf-8")
    .split("## Ten views")[1]
    .split("\n## ")[0]
    .split("\n### ")[0]
)
SHOWN: dict[str, list[str]] = {
    name: re.findall(r"`([^`]+)`", " ".join(said.split()))
    for name, said in re.findall(r"^- \*\*`(\w+)`\*\*(.*?)(?=^- |^\n|\Z)", SECTION, re.MULTILINE | re.DOTALL)
}


def test_every_view_is_named() -> None:
    assert list(VIEWS["sqlite"]) == list(VIEWS["postgresql"]) == list(SHOWN)
    assert 10 == len(SHOWN)


@pytest.mark.parametrize("view", SHOWN)
def test_its_columns_are_those_on_both_databases_and_its_query_answers(view: str, database: Database) -> None:
    *columns, query = SHOWN[view]
    with database.reading() as conn:
        assert list(conn.execute(text(f"SELECT * FROM {view}")).keys()) == [
            c for c in columns if not c.startswith("2026")
        ]
        assert view in query
        conn.execute(text(query)).all()
