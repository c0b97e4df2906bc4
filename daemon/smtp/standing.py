"""What is known of a connection beyond what the relay said of itself. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Chunks(StrEnum):
    """Whether letters go by BDAT."""

    UNTRIED = "untried"
    PROVEN = "proven"  # one letter has gone so
    NOT = "not"


@dataclass(slots=True)
class Standing:
    """How a connection stands, kept from one call of `carry` to the next.

    letters: begun on it.  is_begun: a chunk was refused, and the relay may still have that letter's sender and recipients:
    RSET comes before the next.
    """

    chunks: Chunks = Chunks.UNTRIED
    letters: int = 0
    is_begun: bool = False
