"""What one of several worker processes has of what the settings mean for all of them together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class WorkerShare:
    """One process of so many, counted from 1.

    `store_url` is the store that another process has opened for all; without it, the settings say
    where the store is.
    """

    number: int = 1
    of: int = 1
    store_url: str | None = None

    @property
    def name(self) -> str:
        """What it is called in logs and metrics."""
        return f"worker-{self.number}"

    def share(self, total: int) -> int:
        """Return its share of a number of which there is one for each, at least."""
        return max(1, total // self.of + (self.number <= total % self.of))

    def own_partitions(self, tags: Sequence[str]) -> Sequence[str]:
        """Return those of which it takes care first; all, where there are too few."""
        return tags[self.number - 1 :: self.of] or tags


SINGLE: Final = WorkerShare()
"""The only process there is, or one that shares nothing."""
