"""Entries lie in the slot of what they are about, so all of it works on a cluster as well."""

from pathlib import Path

from proxy.audit.denied_calls import DeniedCalls
from proxy.audit.files import files_in
from proxy.audit.replay import replay
from proxy.cli.commands.audit import examine
from proxy.domain.schedule import DAY
from proxy.maintenance.doctor import Doctor, DoctorInputs
from proxy.security.key_ring import new_key
from proxy.store.tokens import RedisTokens
from tests.support.faults.topologies import cluster
from tests.support.invariants import check_store
from tests.support.manual_clock import ManualClock
from tests.support.rig import OPERATOR_KEY, open_rig, post_json

ENCRYPTION = {"keys": [{"id": "k1", "key": new_key()}], "index_key": new_key()}


async def test_entries_of_every_slot_are_sealed_and_what_is_lost_is_written_back(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with (
        cluster(tmp_path) as nodes,
        open_rig(tmp_path, nodes.url, clock, encryption=ENCRYPTION) as rig,
    ):
        program, calls = rig.program, [await rig.ask() for _ in range(6)]
        await rig.work()
        for action in ("pause", "resume"):
            url = f"{rig.url}/api/destinations/desk/{action}"
            assert (await post_json(url, OPERATOR_KEY, {"reason": "upgrade"}))[0] == 200
        credentials = program.credentials()
        assert credentials is not None
        await credentials.look()
        assert program.audit_keys.ring is not None
        tokens = RedisTokens(program.store, program.audit_keys.ring)
        for login in ("one", "another"):
            await tokens.put(login, "r1", system="desk", by="olga")
            assert await tokens.begin_use(login, "a", DAY)
            assert await tokens.sending(login, "r1", "a")
            assert await tokens.rotate(login, "r1", "r2", system="desk")
        refusals = DeniedCalls(program.streams, program.metrics)
        refusals.count("/", remote="203.0.113.1")
        await refusals.flush()
        waiting = await program.streams.waiting()
        sealer = program.sealer()
        while await sealer.seal():
            pass
        assert await program.streams.waiting() == 0
        folder = program.settings.audit_folder
        assert not examine(folder).problems
        remembered = replay(file.lines() for file in files_in(folder))
        assert waiting >= 6 * 3 + 2 * 2 + 4
        assert len(remembered) == 6
        lost = str(calls[0].correlation_id)
        entry = await program.store.load(lost)
        assert entry is not None
        tag = program.store.keys.tag_of(lost)
        for kind in "rpxh":
            await program.store.batcher.command("DEL", f"{tag}:{kind}:{lost}")
        for index in ("due", f"s:{entry.record.state}"):
            await program.store.batcher.command("ZREM", f"{tag}:{index}", lost)
        await program.store.batcher.command("HINCRBY", f"{tag}:open", "main/desk", -1)
        other = str(calls[1].correlation_id)  # only an index of it is lost
        tag = program.store.keys.tag_of(other)
        await program.store.batcher.command("ZREM", f"{tag}:due", other)
        patient = DoctorInputs(
            store=program.store,
            streams=program.streams,
            audited=remembered,
            report=examine(folder),
            systems=program.systems,
            since=0,
            retention=90 * DAY,
        )
        findings = [it async for it in Doctor(patient, repair=True).examine()]
        for request in (lost, other):
            assert "repaired" in {it.result for it in findings if it.about == request}
        await check_store(program.store)
        again = await program.store.load(lost)
        assert again is not None
        assert again.record.ticket_id == entry.record.ticket_id
