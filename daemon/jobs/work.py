"""A row of the outbox with an attempt under way, from `prepare` to `record`."""

from dataclasses import dataclass, field

from daemon.jobs.letter import Item
from daemon.smtp.replies import Outcome
from daemon.store import outbox


@dataclass(slots=True, kw_only=True)
class Work:
    """A row with an attempt under way.

    parts: parcels that are not answered yet; a row with many recipients is several.  transcript: where it did not go well.
    """

    item: Item
    attempt: outbox.Attempt
    parts: int = 0
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    is_marked: bool = False
    transcript: str | None = None

    @property
    def id(self) -> int:
        """The row's."""
        return self.item.row.id
