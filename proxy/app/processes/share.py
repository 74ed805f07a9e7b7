"""The share of the configured limits that one worker process gets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class WorkerShare:
    """One of `count` worker processes, with a `number` from 1.

    `store_url` is a store that another process has opened; without it, the settings say where the
    store is.
    """

    number: int = 1
    count: int = 1
    store_url: str | None = None

    @property
    def name(self) -> str:
        """The name of the process in logs and metrics."""
        return f"worker-{self.number}"

    def portion(self, total: int) -> int:
        """Return the portion of a limit for this process, at least 1."""
        return max(1, total // self.count + (self.number <= total % self.count))

    def own_partitions(self, tags: Sequence[str]) -> Sequence[str]:
        """Return the partitions that this process serves first; all, if there are too few."""
        return tags[self.number - 1 :: self.count] or tags


SINGLE: Final = WorkerShare()
"""The share of a process that is alone."""
