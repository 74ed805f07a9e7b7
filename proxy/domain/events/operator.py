"""What operators do to an approval request, each with who and why for the history."""

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from proxy.domain.events.base import Event, without_failures
from proxy.domain.models import Details, Record
from proxy.domain.replace import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried(Event):
    """An operator sends a held or dead request back to work.

    `no_ticket`: the operator vouches that a create in doubt made no ticket.
    """

    event_code: ClassVar[str] = "Retried"

    by: str
    reason: str
    no_ticket: bool = False

    @override
    def apply(self, record: Record) -> Record:
        back = replace(without_failures(Event.apply(self, record)), missing=0, finished_at=0)
        # without a run id, no restart of the store casts doubt on the operator's word
        return replace(back, sent_at=0, run_id="") if self.no_ticket else back


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed(Event):
    """An operator asks for a look at the ticket now."""

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
    """An operator has the route chosen again, under the rules and mappings of now."""

    event_code: ClassVar[str] = "Rerouted"

    route: str
    system: str

    @override
    def apply(self, record: Record) -> Record:
        return replace(Retried.apply(self, record), route=self.route, system=self.system)
