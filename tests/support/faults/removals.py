"""Each mechanism that a promise rests on, taken away: what claims the promise must then go red."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

from proxy.domain.events.base import Event
from proxy.domain.events.callback import CallbackStarted
from proxy.domain.events.ticket import CreateStarted, Decided, TicketRead
from proxy.domain.lifecycle import advance_entry
from proxy.domain.models import Outcome, StoredRequest, Ticket
from proxy.engine import creating, deciding
from proxy.engine.lease import Lease
from proxy.engine.step import Released, Step
from proxy.oauth2.token_source import TokenSource
from proxy.outbound.destination import Destination
from proxy.store import pauses
from proxy.store import requests as store
from proxy.store.client.pipeline import Script
from proxy.witboost.callback import Witboost
from proxy.worker import Worker

Removal = AbstractContextManager[Any]
_FENCE: Final = "if old[1] ~= expected_fence then return {'stale', old[1]} end\n"
_UNINDEX: Final = "redis.call('ZREM', key('s', old[3]), id)"
_BACK: Final = "if at < due then make_due(id, at) end"


def without(mechanism: str) -> Removal:
    """Take a mechanism away inside the block; the empty name takes nothing away."""
    return _REMOVALS[mechanism]() if mechanism else nullcontext()


def _without_look_up() -> Removal:
    async def create_again(step: Step, *, otherwise: creating.NextStep) -> Step | Released:
        return await otherwise(step)

    return patch.object(creating, "look_up", create_again)


@contextmanager
def _without_checking_urls() -> Iterator[None]:
    """Two checks hold it: the instance's, and that of every destination."""
    with (
        patch.object(Witboost, "_checked", lambda _, url: url),
        patch.object(Destination, "_covers", lambda *_: True),
    ):
        yield


def _without_settling() -> Removal:
    return patch.object(creating, "visible_at", lambda _, sent_at: sent_at)


def _without_writing(kind: type[Event]) -> Removal:
    """Let a step know of such an event, but not the store."""
    go_on = Step.commit

    async def forget(step: Step, event: Event, *, quiet: bool = False) -> Step:
        if isinstance(event, kind):
            step = await step.write("keep")
            known = advance_entry(step.entry, event)
            return replace(step, entry=known, stored=known)
        return await go_on(step, event, quiet=quiet)

    return patch.object(Step, "commit", forget)


def _without_line(line: str, module: ModuleType = store, name: str = "COMMIT") -> Removal:
    """Take a line, or a part of one, out of a Lua step."""
    source = getattr(module, name).source
    assert line in source
    shorter = source.replace(line, "")
    digest = hashlib.sha1(shorter.encode()).hexdigest()  # noqa: S324 - as Redis names scripts
    return patch.object(module, name, Script(shorter, digest))


def _without_reserving() -> Removal:
    async def hold(_store: object, _system: str, _ticket: str, who: str, *, keep: int) -> str:  # noqa: ARG001 - as it is called
        return who

    return patch.object(store.RequestStore, "reserve", hold)


def _without_giving_back() -> Removal:
    async def keep(_worker: Worker, _entry: StoredRequest) -> None:
        pass

    return patch.object(Worker, "_release", keep)


def _without_polling() -> Removal:
    async def sleep(step: Step, ticket: Ticket) -> Step | Released:
        return await step.release(TicketRead(at=step.now, ticket=ticket), None)

    return patch.object(deciding, "read_again_later", sleep)


def _without_pending() -> Removal:
    """Take an unknown status for an approval."""
    judge = deciding.accept_outcome

    def hope(step: Step, ticket: Ticket) -> Decided | None:
        return judge(step, replace(ticket, outcome=ticket.outcome or Outcome.APPROVED))

    return patch.object(deciding, "accept_outcome", hope)


_REMOVALS: Final[Mapping[str, Callable[[], Removal]]] = {
    "look-up before a second create": _without_look_up,
    "settle time": _without_settling,
    "doubt after a failover": lambda: patch.object(
        creating, "suspect_lost_create", lambda step: step
    ),
    "intent stored before the create": lambda: _without_writing(CreateStarted),
    "sending stored before the callback": lambda: _without_writing(CallbackStarted),
    "fence": lambda: _without_line(_FENCE),
    "state index": lambda: _without_line(_UNINDEX),
    "bringing back": lambda: _without_line(_BACK, pauses, "RESUME"),
    "giving back": _without_giving_back,
    "ticket reserved": _without_reserving,
    "lease checked before the create": lambda: patch.object(Lease, "remaining", lambda _: 10**9),
    "guards": lambda: patch.object(deciding, "guard_violations", lambda *_: []),
    "polling": _without_polling,
    "unknown is pending": _without_pending,
    "token dropped on 401": lambda: patch.object(TokenSource, "invalidate", lambda *_: False),
    "URL checked again": _without_checking_urls,
}
