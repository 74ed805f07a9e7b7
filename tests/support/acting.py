"""What happens to requests elsewhere: tests put them where they need them."""

from dataclasses import replace

from proxy.domain.events.base import Event, Held
from proxy.domain.events.ticket import CreateStarted, Decided
from proxy.domain.lifecycle import advance_entry
from proxy.domain.models import Decision, State, StoredRequest
from proxy.store.codec import history_entry
from proxy.store.requests import RequestStore


async def set_state(
    store: RequestStore, correlation_id: str, state: State, decision: Decision | None = None
) -> None:
    """Put a request into a state, indices included."""
    entry = await _load(store, correlation_id)
    record = replace(entry.record, state=state, decision=decision, finished_at=1)
    await store.commit(entry, replace(entry, record=record), due=1)


async def happen(store: RequestStore, correlation_id: str, *events: Event) -> None:
    """Let events happen to a request, one after the other."""
    for event in events:
        entry = await _load(store, correlation_id)
        after = advance_entry(entry, event)
        await store.commit(entry, after, [history_entry(event, after.record)], due=event.at)


async def hold(store: RequestStore, correlation_id: str, *, in_doubt: bool = False) -> None:
    """Hold a request, as a create whose answer was lost where `in_doubt`."""
    sending: list[Event] = [CreateStarted(at=1)] if in_doubt else []
    held = Held(at=2, code="look", reason="A person must look.")
    await happen(store, correlation_id, *sending, held)


async def decide(store: RequestStore, correlation_id: str) -> None:
    """Decide a request."""
    await happen(store, correlation_id, Decided(at=3, decision=Decision.APPROVED, by="olga"))


async def _load(store: RequestStore, correlation_id: str) -> StoredRequest:
    entry = await store.load(correlation_id)
    assert entry is not None
    return entry
