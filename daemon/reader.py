"""What is written in the environment and in `.env`: each variable with its place, and the mistakes found in them.

The environment wins; an empty value is as good as none. A name that is no setting is a mistake too, with the one that was
probably meant. Given the environment, never reads it itself; no value of a secret is ever shown.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from daemon import notation, variables

T = TypeVar("T")
_ACCOUNT_NAME: Final = re.compile(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*")  # two underscores divide the parts of a variable


class Reader:
    """The variables, where each stands, and the mistakes found so far."""

    def __init__(self, environment: Mapping[str, str], dotenv: Path | None) -> None:
        """Merge the two sources; values that are empty are left out. dotenv: unless POSTROOM_ENV_FILE names another."""
        self.mistakes: list[str] = []
        self.credentials = environment.get("CREDENTIALS_DIRECTORY")
        self.places: dict[str, str] = {}
        self.values: dict[str, str] = {}
        self.names: dict[str, None] = {}  # also of empty values: a misspelt name is worth a word whatever it holds
        if named := environment.get(variables.ENV_FILE):
            dotenv = Path(named)
            if not dotenv.is_file():
                self.mistakes.append(f"{variables.ENV_FILE} takes a readable file of settings, and {dotenv} is none")
        for name, value, place in _lines(dotenv, self.mistakes):
            if name == variables.ENV_FILE:
                self.mistakes.append(f"{name}{place} is set in the environment, not in the file that it names")
            self._set(name, value, place)
        for name, value in environment.items():
            self._set(name, value, "")

    def _set(self, name: str, value: str, place: str) -> None:
        if not name.upper().startswith(variables.PREFIX):
            return
        self.names[name] = None
        self.places[name] = place
        self.values[name] = value
        if not value.strip():
            del self.values[name]

    def take(self, prefix: str, variable: variables.Variable[T]) -> T | None:
        """Read one variable; None when it is not set, or set wrongly (then the mistake is noted)."""
        name = prefix + variable.name
        if name not in self.values:
            return None
        text = self.values[name] if variable is variables.PASSWORD else self.values[name].strip()
        try:
            return variable.read(text)
        except ValueError as error:
            has = "" if variable.is_secret else f", not {_shown(text)}"
            why = f" ({' '.join(str(error).split())})" if str(error) else ""
            self.mistakes.append(f"{name}{self.places[name]} takes {variable.takes}{has}{why}")
            return None

    def missing(self, name: str, takes: str) -> None:
        """Note a variable that must be set."""
        if name not in self.values:
            self.mistakes.append(f"{name} is missing; it takes {takes}")

    def account_names(self) -> dict[str, str]:
        """Return the accounts' names: in lower case, and as written."""
        written: dict[str, dict[str, None]] = {}
        for name in self.values:
            account, rest = _split(name)
            if rest in variables.ACCOUNT and _ACCOUNT_NAME.fullmatch(account):
                written.setdefault(account.lower(), {})[account] = None
        for account, spellings in written.items():
            if len(spellings) > 1:
                both = " and ".join(f"{variables.ACCOUNTS}{one}__…" for one in spellings)
                self.mistakes.append(f"{both} are the same account, {account}; spell it in one way")
        return {account: next(iter(spellings)) for account, spellings in written.items()}

    def note_unknown(self) -> None:
        """Note every POSTROOM_ name that is no setting, with the one that was probably meant."""
        house = [one.name for one in variables.HOUSE]
        for name in self.names:
            account, rest = _split(name)
            if name == variables.ENV_FILE and self.places[name]:
                self.mistakes.append(
                    f"{name}{self.places[name]} is set in the environment, not in the file that it names"
                )
                continue
            if name.removeprefix(variables.PREFIX) in house or name in {variables.ENV_FILE, *variables.NOT_OURS}:
                continue
            if rest not in variables.ACCOUNT:
                meant = _meant(name)
                hint = (
                    f"did you mean {meant}?"
                    if meant
                    else f"an account's begin with {variables.ACCOUNTS}<NAME>__; see .env.example"
                )
                self.mistakes.append(f"{name}{self.places[name]} is no setting of postroom; {hint}")
            elif not _ACCOUNT_NAME.fullmatch(account):
                self.mistakes.append(
                    f"{name}{self.places[name]}: an account's name is letters, digits and single underscores"
                )


def _split(name: str) -> tuple[str, str]:
    """Return the account's name and the rest of a variable's; both empty when it is not an account's."""
    account, _, rest = (
        name.removeprefix(variables.ACCOUNTS).partition("__") if name.startswith(variables.ACCOUNTS) else ("", "", "")
    )
    return account, rest


def _lines(dotenv: Path | None, mistakes: list[str]) -> Iterable[tuple[str, str, str]]:
    """Give (name, value, where) of a .env file; what can't be read is a mistake with its line number."""
    if dotenv is None or not dotenv.is_file():
        return
    from dotenv.parser import parse_stream  # noqa: PLC0415 -- only where there is a file; dotenv_values() hides the line numbers

    try:
        with dotenv.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        mistakes.append(f"{dotenv} can't be read: {reason}")
        return
    for binding in bindings:
        # A binding begins with the blank lines before it.
        before = re.match(r"\s*", binding.original.string)
        line = binding.original.line + (before[0].count("\n") if before else 0)
        if binding.error or (binding.key is not None and binding.value is None):
            if binding.error or (binding.key or "").upper().startswith(variables.PREFIX):
                mistakes.append(
                    f"{dotenv} line {line} can't be read; a line is NAME=value, with 'quotes' around a value with spaces or #"
                )
        elif binding.key is not None and binding.value is not None:
            yield binding.key, binding.value, f" ({dotenv} line {line})"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _meant(name: str) -> str | None:
    """Return the setting that a wrong name stands for: with single underscores or in lower case, or nearly so."""
    account, rest = _split(name)
    if account:
        near = notation.closest(rest.upper(), variables.ACCOUNT)
        return f"{variables.ACCOUNTS}{account}__{near}" if near else None
    flat = re.sub(r"_+", "_", name.upper())
    found = re.fullmatch(r"POSTROOM_ACCOUNTS?_(.+)", flat)
    for rest in sorted(variables.ACCOUNT, key=len, reverse=True) if found else ():
        of_account, _, end = found[1].rpartition("_" + rest.replace("__", "_")) if found else ("", "", "")
        if of_account and not end:
            return f"{variables.ACCOUNTS}{of_account}__{rest}"
    near = notation.closest(flat.removeprefix(variables.PREFIX), [one.name for one in variables.HOUSE])
    return variables.PREFIX + near if near else None
