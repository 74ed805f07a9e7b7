"""What can happen to an approval request: each event and the fields that it changes.

Which event is possible in which state, and where it leads, is the table in `lifecycle`.
"""

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from proxy.domain.models import Details, Record, State
from proxy.domain.replace import replace

ACTIVE = (State.RECEIVED, State.OPENING, State.PENDING, State.DECIDED, State.FULFILLING)
"""The states in which the worker goes on by itself."""

PARKED = (State.HELD, State.DEAD)
"""The states in which it does not, until an operator acts or the decision deadline passes."""


def without_failures(record: Record) -> Record:
    """Return the record without its failures: a new stage begins with a clean count."""
    return replace(record, attempt=0, waited=0, waited_before_code=0, refused_at=0, refusals=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at a time (milliseconds since the epoch)."""

    event_code: ClassVar[str]
    """The name of the event in histories and audit files; stored, so it never changes."""

    at: int

    def apply(self, record: Record) -> Record:
        """Return the record with this event's fields; the table sets the state."""
        return replace(record, code="", resume_state=None)

    def write(self, texts: Details) -> Details:
        """Return the texts with what this event says; a good event clears the last reason."""
        return replace(texts, reason="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed(Event):
    """Nothing came of an attempt.

    `delay` is the request's own time; 0 means that the destination is paused, which uses up
    nothing. `refused` marks a 401 or 403 that may concern this one request.
    """

    event_code: ClassVar[str] = "Postponed"

    code: str
    reason: str
    delay: int = 0
    refused: bool = False

    @override
    def apply(self, record: Record) -> Record:
        postponed = replace(
            record,
            # a request set aside keeps the reason why
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
    """Given up, with the reason."""

    event_code: ClassVar[str] = "Died"

    code: str
    reason: str

    @override
    def apply(self, record: Record) -> Record:
        # setting aside twice keeps the first place to return to
        back = record.state if record.state in ACTIVE else record.resume_state
        finished = self.at if record.decision is not None else 0
        return replace(record, resume_state=back, code=self.code, finished_at=finished)

    @override
    def write(self, texts: Details) -> Details:
        return replace(texts, reason=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(GivenUp):
    """A person must look. `fired`: the decision deadline led here, and it fires only once."""

    event_code: ClassVar[str] = "Held"

    deadline_fired: bool = False

    @override
    def apply(self, record: Record) -> Record:
        aside = GivenUp.apply(self, record)
        return replace(
            aside, deadline_fired=1 if self.deadline_fired else record.deadline_fired, finished_at=0
        )
