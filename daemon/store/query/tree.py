"""What a query asks for, as a tree; and how it is written.

A query that was read is always in the same form: no AND directly in an AND, no NOT of a NOT, nothing of one part but a leaf, and
`And(())` for whatever there is. `parse(shown(node)) == node`. Pure.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

ANYWHERE: Final = ""


@dataclass(frozen=True, slots=True)
class Words:
    """Words that stand one after another. field: one of TEXTS, or ANYWHERE.  is_prefix: the last one may go on."""

    words: tuple[str, ...]
    field: str = ANYWHERE
    is_prefix: bool = False


@dataclass(frozen=True, slots=True)
class Exact:
    """A property. field: account, thread, id, message-id, has or is."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit. field: after (that moment itself too) or before, of a moment; larger or smaller, of octets; itself not."""

    field: str
    value: datetime | int


@dataclass(frozen=True, slots=True)
class Not:
    """What must not hold."""

    part: "Node"


@dataclass(frozen=True, slots=True)
class And:
    """What must all hold; of no parts, it always does."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """Of what one must hold."""

    parts: "tuple[Node, ...]"


Leaf: TypeAlias = Words | Exact | Bound
Node: TypeAlias = Leaf | Not | And | Or
EVERYTHING: Final = And(())


def conjunction(parts: list[Node]) -> Node:
    """Put parts together that must all hold."""
    flat = tuple(one for part in parts for one in (part.parts if isinstance(part, And) else (part,)))
    return flat[0] if len(flat) == 1 else And(flat)


def disjunction(parts: list[Node]) -> Node:
    """Put parts together of which one must hold."""
    flat = tuple(one for part in parts for one in (part.parts if isinstance(part, Or) else (part,)))
    return flat[0] if len(flat) == 1 else Or(flat)


def negation(part: Node) -> Node:
    """Turn a part round."""
    return part.part if isinstance(part, Not) else Not(part)


def leaves(node: Node) -> list[Words]:
    """Give the words that a query wants to find, in their order; not those that must be absent."""
    match node:
        case Words():
            return [node]
        case And(parts) | Or(parts):
            return [leaf for part in parts for leaf in leaves(part)]
        case _:
            return []


def shown(node: Node) -> str:
    """Write a query so that it reads back equal."""
    match node:
        case Words(words, field, is_prefix):
            return f'{field}{":" if field else ""}"{" ".join(words)}{"*" if is_prefix else ""}"'
        case Exact(field, value):
            return f'{field}:"{value}"'
        case Bound(field, value):
            return f"{field}:{value if isinstance(value, int) else _moment(value)}"
        case Not(part):
            return f"-{_grouped(part)}"
        case And(parts):
            return " ".join(map(_grouped, parts))
        case Or(parts):
            return " OR ".join(map(_grouped, parts))


def _grouped(node: Node) -> str:
    return f"({shown(node)})" if isinstance(node, And | Or) else shown(node)


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
