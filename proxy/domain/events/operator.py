"""The actions of operators as events, each with the operator and the reason for the history."""

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from proxy.domain.events.base import Event, without_failures
from proxy.domain.models import Details, Record
from proxy.domain.replace import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried(Event):
    """An operator sends a held or dead request back to work.

    With `no_ticket`, the operator confirms that a create in doubt made no ticket.
    """

    event_code: ClassVar[str] = "Retried"

    by: str
    reason: str
    no_ticket: bool = False

    @override
    def apply(self, record: Record) -> Record:
        resumed = replace(without_failures(Event.apply(self, record)), missing=0, finished_at=0)
        # without a run id, no restart of the store can raise the doubt again
        return replace(resumed, sent_at=0, run_id="") if self.no_ticket else resumed


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed(Event):
    """An operator has the ticket read now."""

    event_code: ClassVar[str] = "Refreshed"

    by: str
    reason: str

    @override
    def apply(self, record: Record) -> Record:
        return replace(record, polls=0)

    @override
    def write(self, texts: Details) -> Details:
        return texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerouted(Retried):
    """An operator has the route chosen again, by the present rules and mappings."""

    event_code: ClassVar[str] = "Rerouted"

    route: str
    system: str

    @override
    def apply(self, record: Record) -> Record:
        return replace(Retried.apply(self, record), route=self.route, system=self.system)
