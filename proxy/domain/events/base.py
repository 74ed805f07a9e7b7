"""Events: each is something that happened to a request, and knows which fields that changes.

The table in `lifecycle` says in which states an event is possible and to which state it leads.
"""

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from proxy.domain.models import Details, Record, State
from proxy.domain.replace import replace

ACTIVE = (State.RECEIVED, State.OPENING, State.PENDING, State.DECIDED, State.FULFILLING)
"""The states in which the worker continues by itself."""

PARKED = (State.HELD, State.DEAD)
"""The states in which the worker waits for an operator or the decision deadline."""


def without_failures(record: Record) -> Record:
    """Return the record with no failures counted: a new state begins at zero."""
    return replace(record, attempt=0, waited=0, waited_before_code=0, refused_at=0, refusals=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event at a time, in milliseconds since the epoch."""

    event_code: ClassVar[str]
    """The name of the event in histories and audit files; stored, so it never changes."""

    at: int

    def apply(self, record: Record) -> Record:
        """Return the record with this event's fields; the table sets the state."""
        return replace(record, code="", resume_state=None)

    def write(self, texts: Details) -> Details:
        """Return the texts after this event; by default it clears the last reason."""
        return replace(texts, reason="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed(Event):
    """An attempt failed and is repeated later."""

    event_code: ClassVar[str] = "Postponed"

    code: str
    """The code of the reason."""
    reason: str
    """The reason, for people to read."""
    delay: int = 0
    """The request's own time until the retry, in ms; 0 during a pause, which costs none."""
    refused: bool = False
    """True for a 401 or 403 that may concern this request alone."""

    @override
    def apply(self, record: Record) -> Record:
        postponed = replace(
            record,
            # a parked request keeps the reason for which it is parked
            code=record.code if record.state in PARKED else self.code,
            refused_at=self.at if self.refused else record.refused_at,
            refusals=record.refusals + self.refused,
        )
        if not self.delay:
            return postponed
        return replace(
            postponed,
            attempt=record.attempt + 1,
            waited=record.waited + self.delay,
            waited_before_code=record.waited_before_code
            if record.code == self.code
            else record.waited,
        )

    @override
    def write(self, texts: Details) -> Details:
        return replace(texts, reason=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp(Event):
    """The proxy gave the request up."""

    event_code: ClassVar[str] = "Died"

    code: str
    reason: str

    @override
    def apply(self, record: Record) -> Record:
        # a request that is parked twice returns to the state before the first time
        resume = record.state if record.state in ACTIVE else record.resume_state
        finished = self.at if record.decision is not None else 0
        return replace(record, resume_state=resume, code=self.code, finished_at=finished)

    @override
    def write(self, texts: Details) -> Details:
        return replace(texts, reason=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(GivenUp):
    """The request waits until a person has looked at it."""

    event_code: ClassVar[str] = "Held"

    deadline_fired: bool = False
    """True if the decision deadline held it; that happens only once."""

    @override
    def apply(self, record: Record) -> Record:
        fired = 1 if self.deadline_fired else record.deadline_fired
        return replace(GivenUp.apply(self, record), deadline_fired=fired, finished_at=0)
