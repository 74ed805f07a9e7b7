"""The context of a step: the objects and limits that every step works with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.domain.identities import Identities
from proxy.domain.schedule import DAY, HOUR, SECOND, Jitter
from proxy.engine.batched_reads import TicketBatchLoader
from proxy.engine.pauses import Pauses
from proxy.observability.alarms import Alarms
from proxy.observability.metrics import Metrics
from proxy.store.requests import RequestStore


@dataclass(frozen=True, slots=True)
class Policy:
    """How long the proxy retries and retains; durations in milliseconds of the request's own time.

    A request's own time stands still while a destination is paused.
    """

    retention: int = 90 * DAY
    """How long a finished request is kept."""
    create_for: int = 3 * DAY
    """How long a failing create is retried."""
    callback_for: int = 3 * DAY
    """How long an unanswered callback is retried."""
    refused_callback_for: int = HOUR
    """How long a refused callback is retried: long enough for witboost to be deployed again."""
    missing_reads: int = 5
    """After how many reads in a row a ticket that is not found is held."""
    hint_interval: int = 5 * SECOND
    """One read per interval follows from events about one ticket, after the first burst."""
    hint_burst: int = 3
    """How many reads events may cause at once."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """The objects that every step works with."""

    store: RequestStore
    """The record of every request."""
    pauses: Pauses
    """Which destinations are paused."""
    alarms: Alarms
    """Where alarms are raised."""
    metrics: Metrics
    """The counters and timers of this process."""
    policy: Policy
    """How long the proxy retries and retains."""
    jitter: Jitter
    """The random factor of every pause."""
    identities: Identities = field(default_factory=Identities)
    """The people that the settings know."""
    change_list_intervals: Mapping[str, int] = field(default_factory=dict)
    """The milliseconds between two lists of changes, for each ticket system that lists them."""
    ticket_loader: TicketBatchLoader = field(default_factory=TicketBatchLoader)
    """Reads tickets, many in one call where the ticket system can."""
