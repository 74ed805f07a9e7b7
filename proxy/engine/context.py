"""The context of a step: the objects and limits that every step works with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.domain.identities import Identities
from proxy.domain.schedule import (
    DAY,
    HOUR,
    SECOND,
    Jitter,
)
from proxy.engine.batched_reads import TicketBatchLoader
from proxy.engine.pauses import Pauses
from proxy.observability.alarms import Alarms
from proxy.observability.metrics import Metrics
from proxy.store.requests import RequestStore


@dataclass(frozen=True, slots=True)
class Policy:
    """How long things are tried and kept, in milliseconds of a request's own time."""

    retention: int = 90 * DAY
    create_for: int = 3 * DAY
    callback_for: int = 3 * DAY
    refused_callback_for: int = HOUR
    missing_reads: int = 5
    hint_interval: int = 5 * SECOND
    hint_burst: int = 3


@dataclass(frozen=True, slots=True)
class StepContext:
    """What every step works with.

    `listed` says every how many milliseconds the changes of a ticket system are listed; a system
    that cannot list them is not in it.
    """

    store: RequestStore
    pauses: Pauses
    alarms: Alarms
    metrics: Metrics
    policy: Policy
    dice: Jitter
    identities: Identities = field(default_factory=Identities)
    listed: Mapping[str, int] = field(default_factory=dict)
    reads: TicketBatchLoader = field(default_factory=TicketBatchLoader)
