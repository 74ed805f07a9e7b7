"""A payload that is gone or unreadable: named, and written back where the audit holds it."""

import pytest

from proxy.domain.models import State
from proxy.observability.alarms import Alarm
from tests.maintenance.test_doctor import Machine, machine, results
from tests.support.rig import Rig

__all__ = ["machine"]

SECOND = 1_000


def key_of(rig: Rig, request: str) -> str:
    return f"{rig.program.store.keys.tag_of(request)}:p:{request}"


@pytest.mark.parametrize("sealed", [True, False])
async def test_a_payload_that_is_gone_is_named_and_written_back_from_the_audit(
    machine: Machine, *, sealed: bool
) -> None:
    rig = machine.rig
    sealer = rig.program.sealer()
    await sealer.seal()
    call = await rig.ask()
    request = str(call.correlation_id)
    if sealed:
        await sealer.seal()
    await rig.work()  # the store knows more than the audit
    ticket = rig.tickets()[0]["id"]
    payload = (await rig.entry(call)).payload
    await rig.program.store.batcher.command("DEL", key_of(rig, request))

    (gone, *more) = [it for it in await machine.doctor() if it.about == request]
    assert (gone.result, "its payload is gone" in gone.message) == ("wrong", True)
    assert [it.result for it in more] == ([] if sealed else ["unknown"])
    assert gone.message.endswith("--repair writes it back") is sealed

    repaired = await machine.doctor(repair=True)
    assert results(repaired, request) == ({"repaired"} if sealed else {"wrong", "unknown"})
    found = await rig.entry(call)
    assert found.payload == (payload if sealed else b"")
    assert (found.record.state, found.record.ticket_id) == (State.PENDING, ticket)
    assert not sealed or results(await machine.doctor(), request) == set()
    rig.desk.decide(ticket, "approved", by="olga")
    await rig.work(after=2 * SECOND)
    assert ((rig.final(call) or {}).get("status") == "OK") is sealed
    sounded = rig.program.metrics.alarms.labels(Alarm.REQUEST_UNREADABLE)
    assert bool(sounded._value.get()) is not sealed


async def test_a_payload_that_was_changed_is_written_back(machine: Machine) -> None:
    rig = machine.rig
    call, other = await rig.ask(), await rig.ask()
    await rig.program.sealer().seal()
    request, key = str(call.correlation_id), key_of(rig, str(call.correlation_id))
    kept = await rig.program.store.batcher.command("GET", key_of(rig, str(other.correlation_id)))
    await rig.program.store.batcher.command("SET", key, kept)
    (changed,) = [it for it in await machine.doctor() if it.about == request]
    assert (changed.result, "it cannot be read" in changed.message) == ("wrong", True)
    assert results(await machine.doctor(repair=True), request) == {"repaired"}
    await rig.work(after=10 * SECOND)
    assert len(rig.tickets()) == 2


async def test_where_more_than_the_payload_was_changed_nothing_is_guessed(machine: Machine) -> None:
    rig = machine.rig
    call = await rig.ask()
    await rig.program.sealer().seal()
    request, key = str(call.correlation_id), key_of(rig, str(call.correlation_id))
    kept = await rig.program.store.batcher.command("GET", key)
    await rig.program.store.batcher.command("HSET", key.replace(":p:", ":x:"), "reason", kept)
    assert results(await machine.doctor(repair=True), request) == {"wrong"}
    await rig.program.store.batcher.command("DEL", key.replace(":p:", ":x:"))


async def test_a_finished_request_without_its_payload_ends_with_its_retention(
    machine: Machine,
) -> None:
    rig = machine.rig
    call = await rig.ask()
    await rig.work()
    rig.desk.decide(rig.tickets()[0]["id"], "approved", by="olga")
    await rig.work(after=2 * SECOND)
    assert await rig.state(call) is State.DONE
    await rig.program.store.batcher.command("DEL", key_of(rig, str(call.correlation_id)))
    await rig.work(after=91 * 24 * 3600 * SECOND)
    assert await rig.program.store.load(str(call.correlation_id)) is None
