"""The walls of the house: who may import whom, which library has one importer, what is pure, and that README's map is true."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
HOUSE: Final = ROOT / "daemon"
MOST_LINES: Final = 400  # of a file; from 350 on, look for the noun to split by

# Room -> the rooms it may import. A room is a folder or a module right under daemon/; its own modules are always allowed.
# cli -> app -> schedule, service -> jobs -> pop3, smtp, store, mail, trace -> wire -> errors, and never back.
NOUNS: Final = {"errors", "wire", "mail", "retry"}
ARROWS: Final[dict[str, set[str]]] = {
    "__main__": {"cli"},
    "cli": {"app", "demo", "settings", "variables", "notation", "jobs", "store", "trace", *NOUNS},
    "demo": {"app", "settings", "store", "trace", "errors", "mail"},  # never pop3 or smtp: they are independent peers
    "app": {"keeper", "monitor", "schedule", "service", "signals", "settings", "jobs", "store", "trace", *NOUNS},
    "schedule": {"hands", "jobs", "store", "trace", *NOUNS},
    "hands": {"jobs", "trace", "errors"},
    "keeper": {"schedule", "service", "settings", "signals", "jobs", "store", "trace", *NOUNS},
    "monitor": {"metrics", "store", "trace", "errors"},
    "metrics": {"store", "errors"},
    "signals": {"trace", "errors"},
    "service": {"errors"},
    "jobs": {"pop3", "smtp", "store", "documents", "trace", *NOUNS},
    "pop3": {"mail", "wire", "errors"},
    "smtp": {"mail", "wire", "errors"},
    "store": {"mail", "wire", "errors"},
    "documents": set(),
    "settings": {"reader", "variables", "notation", *NOUNS},
    "reader": {"variables", "notation"},
    "variables": {"notation", *NOUNS},
    "notation": NOUNS,
    "trace": {"wire", "errors"},
    "mail": {"wire", "errors"},
    "retry": {"errors"},
    "wire": {"errors"},
    "errors": set(),
}

# Library -> the only ones who import it.
SOLE_IMPORTERS: Final = {
    "sqlalchemy": {"store", "migrations"},
    "alembic": {"store", "migrations"},
    "pysqlite3": {"store", "demo"},
    "psycopg": {"store"},
    "structlog": {"trace"},
    "apscheduler": {"schedule"},
    "click": {"cli"},
    "rich": {"cli"},
    "dotenv": {"reader"},
    "selectolax": {"mail"},
    "pybase64": {"mail"},
    "pypdf": {"documents"},
    "sqlite3": set(),  # of two SQLites in one process, one takes the other's locks when it closes the file
    "ssl": {"wire", "demo"},
    "socket": {"wire", "demo", "service", "store"},  # service: what systemd is told; store: the host's name, in a lease
    "python_socks": {"wire"},
    "keyring": {"wire"},
    "dkim": {"mail"},
    "prometheus_client": {"metrics"},
    "http": {"monitor", "demo"},
    "backports": {"store"},  # zstd: before Python 3.14
    "compression": {"store"},
    "logging": {"trace"},  # for what APScheduler and others say
    "smtplib": set(),
    "poplib": set(),
}

# Pure: given everything, they touch nothing. No socket, no clock, no thread, no file, no environment, no trace.
PURE: Final = re.compile(
    r"daemon\.(mail\..*|store\.(query\..*|snippets)|retry|notation|wire\.(lines|sasl(\..*)?)|pop3\.(?!client|conversation|opening).*|smtp\.(?!relay|dialogue|flight).*)",
    re.ASCII,
)
IMPURE_LIBRARIES: Final = {
    "os",
    "time",
    "socket",
    "ssl",
    "select",
    "selectors",
    "threading",
    "subprocess",
    "tempfile",
    "shutil",
    "random",
    "secrets",
}
IMPURE_CALLS: Final = {"open", "print", "input", "now", "utcnow", "today", "monotonic"}
# An account says where its server is and where its secret lies: values of wire/, used as types.
VALUES_OF_WIRE: Final = {"daemon.wire.stream", "daemon.wire.secret", "daemon.wire.transcript", "daemon.wire.spool"}

BANNED_NAMES: Final = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"}
# PyPI's python-daemon has modules of these names, and would be found instead of ours, or ours instead of it.
PYTHON_DAEMON: Final = {"daemon.daemon", "daemon.pidfile", "daemon.runner", "daemon.version"}


# --- reading the code -----------------------------------------------------------------------------------------------


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the house by its dotted name."""
    return {name_of(file): ast.parse(file.read_bytes(), str(file)) for file in sorted(HOUSE.rglob("*.py"))}


@cache
def migrations() -> dict[str, ast.Module]:
    files = sorted((ROOT / "migrations").rglob("*.py"))
    return {f"migrations.{file.stem}": ast.parse(file.read_bytes(), str(file)) for file in files}


def imports(tree: ast.Module) -> Iterator[str]:
    """Every import wherever it stands: at the top, in a function, for the type checker only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules() else node.module


def own_imports(name: str) -> set[str]:
    return {one for one in imports(modules()[name]) if one == "daemon" or one.startswith("daemon.")}


def room(name: str) -> str:
    """`daemon.store.outbox` is in `store`; whatever is in migrations/ is in `migrations`."""
    outer, _, inner = name.partition(".")
    return inner.split(".")[0] if outer == "daemon" else outer


def is_empty(name: str) -> bool:
    return not modules()[name].body


def named() -> list[str]:
    return [name for name in modules() if not is_empty(name)]


# --- walls ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", named())
def test_imports_go_one_way(name: str) -> None:
    allowed = ARROWS[room(name)] | {room(name)}
    assert [] == [one for one in sorted(own_imports(name)) if room(one) not in allowed]


def test_the_arrows_themselves_have_no_cycle() -> None:
    assert list(TopologicalSorter(ARROWS).static_order())


def test_no_module_imports_itself_by_a_detour() -> None:
    assert list(TopologicalSorter({name: own_imports(name) - {name} for name in modules()}).static_order())


@pytest.mark.parametrize("library", SOLE_IMPORTERS)
def test_a_library_has_one_importer(library: str) -> None:
    trees = modules() | migrations()
    importers = {name for name, tree in trees.items() if library in {one.split(".")[0] for one in imports(tree)}}
    assert set() == {name for name in importers if room(name) not in SOLE_IMPORTERS[library]}


def test_only_settings_reads_the_environment() -> None:
    readers = set()
    for name, tree in modules().items():
        for node in ast.walk(tree):
            word = node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else ""
            if word in {"environ", "environb", "getenv", "getenvb"}:
                readers.add(name)
    assert {"daemon.settings"} == readers


def test_only_the_command_line_and_the_demo_print() -> None:
    printers = {name for name, tree in modules().items() if "print" in calls(tree)}
    assert set() == {name for name in printers if room(name) not in {"cli", "demo"}}


def calls(tree: ast.Module) -> set[str]:
    """The last names of everything that is called: `datetime.now()` is `now`."""
    called = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {f.id if isinstance(f, ast.Name) else f.attr for f in called if isinstance(f, ast.Name | ast.Attribute)}


def swallows_everything(node: ast.AST) -> bool:
    """Tell whether an `except` takes whatever comes and does not raise again."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    is_broad = node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"})
    return is_broad and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))


def test_bugs_are_swallowed_in_three_places_only() -> None:
    """A job must not take the house down, nor a message its index, nor a document others; all else that is unexpected is seen."""
    swallowers = {name for name, tree in modules().items() if any(map(swallows_everything, ast.walk(tree)))}
    assert set() == {name for name in swallowers if room(name) != "demo"} - {
        "daemon.hands",
        "daemon.mail.parse",
        "daemon.documents.worker",
    }


@pytest.mark.parametrize("name", [name for name in named() if PURE.fullmatch(name)])
def test_a_pure_module_touches_nothing(name: str) -> None:
    libraries = {one.split(".")[0] for one in imports(modules()[name])}
    assert set() == libraries & IMPURE_LIBRARIES
    assert set() == calls(modules()[name]) & IMPURE_CALLS
    impure = {one for one in own_imports(name) if not PURE.fullmatch(one) and room(one) != "errors"}
    assert set() == {one for one in impure if one not in VALUES_OF_WIRE and not is_empty(one)}


# --- files ----------------------------------------------------------------------------------------------------------


def test_the_package_itself_is_empty() -> None:
    """python-daemon would overwrite it, so nothing may depend on it."""
    assert b"" == (HOUSE / "__init__.py").read_bytes()


def test_no_module_is_named_for_a_drawer() -> None:
    assert [] == [name for name in modules() if name.rpartition(".")[2] in BANNED_NAMES or name in PYTHON_DAEMON]


@pytest.mark.parametrize("name", named())
def test_a_module_begins_with_what_it_is(name: str) -> None:
    assert ast.get_docstring(modules()[name])


def test_no_file_is_too_long() -> None:
    files = [*HOUSE.rglob("*.py"), *(ROOT / "migrations").rglob("*.py")]
    lengths = {str(file.relative_to(ROOT)): len(file.read_bytes().splitlines()) for file in files}
    # A migration spells the whole schema of its day out, and is never changed again.
    assert {} == {file: lines for file, lines in lengths.items() if lines > MOST_LINES and "versions" not in file}


def test_the_map_in_readme_names_every_module_and_only_those() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## The map of the house\n")[1].split("\n## ")[0]
    block = re.search(r"```[a-z]*\n(.*?)```", section, re.DOTALL)
    assert block, "the map is a fenced block of lines: path, blanks, purpose"
    lines = [line.split(maxsplit=1) for line in block[1].splitlines() if line.startswith("daemon/")]
    shown = {words[0]: words[1:] for words in lines if words[0].endswith(".py")}
    there = {str(file.relative_to(ROOT)) for file in HOUSE.rglob("*.py") if file.stat().st_size > 0}
    assert there == set(shown)
    assert [] == [path for path, purpose in shown.items() if not purpose]


# --- nothing of the machine it was written on -----------------------------------------------------------------------

# Written so that this file does not name them itself.
REGISTRIES: Final = (
    r"pypi[.]org|python(hosted)[.]org|npmjs[.](org|com)|[a-z]+[.]debian[.]org|crates[.]io|docker[.]io|ghcr[.]io"
)
ADDRESS_OPTIONS: Final = r"(extra[-]|default[-])?index[-]url|find[-]links|trusted[-]host"
MACHINE_PATHS: Final = r"(?<![\w.])/(work|farm|root)/|/tmp/v[2]|/opt/(wheels|pypi)|[.][.]/shared|CONTRACT[.]md"
NOT_OURS: Final = {
    ".git",
    ".cache",
    ".venv",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "__pycache__",
    "build",
    "dist",
}


def sources() -> Iterator[Path]:
    for path in sorted(ROOT.iterdir()):
        if path.name not in NOT_OURS and path.name != ".env" and not path.name.endswith((".db", ".db-wal", ".db-shm")):
            found = path.rglob("*") if path.is_dir() else [path]
            yield from (one for one in found if one.is_file() and NOT_OURS.isdisjoint(one.parts))


@pytest.mark.parametrize("pattern", [REGISTRIES, ADDRESS_OPTIONS, MACHINE_PATHS], ids=["registry", "option", "path"])
def test_nothing_names_a_registry_or_a_path_of_one_machine(pattern: str) -> None:
    found = []
    for file in sources():
        text = file.read_text(encoding="utf-8", errors="replace")
        found += [f"{file.relative_to(ROOT)}: {match[0]}" for match in re.finditer(pattern, text)]
    assert [] == found


def test_the_pins_are_names_versions_and_hashes() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pin = re.compile(r"[a-z0-9.-]+==[a-z0-9.]+( ; [a-zA-Z0-9_.'<>=! ()]+)? \\")
    digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [] == [line for line in lines if not pin.fullmatch(line) and not digest.fullmatch(line)]
