"""What others were told beside the final status: courtesies, which change nothing."""

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from proxy.domain.events.base import Event
from proxy.domain.models import Details, Record
from proxy.domain.replace import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced(Event):
    """witboost heard that the ticket is open, or did not: it is only a courtesy."""

    event_code: ClassVar[str] = "Announced"

    note: str = ""

    @override
    def apply(self, record: Record) -> Record:
        return replace(record, announced=1)

    @override
    def write(self, texts: Details) -> Details:
        return texts


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketNotified(Event):
    """The ticket heard how its request ended, or it never will; `note` says which."""

    event_code: ClassVar[str] = "Told"

    note: str

    @override
    def apply(self, record: Record) -> Record:
        return replace(Event.apply(self, record), ticket_notice_due=0)

    @override
    def write(self, texts: Details) -> Details:
        return texts
