"""Another index key, by an export and an import: every request keeps its id and goes on."""

import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.app.offline import open_stopped_store
from proxy.audit.receipts import RECEIPT
from proxy.cli.commands.audit import examine
from proxy.domain.models import State
from proxy.errors import ConfigurationError
from proxy.maintenance import export
from proxy.observability.alarms import AlarmRecord
from proxy.security.key_ring import new_key
from proxy.security.signing import Verifier
from proxy.simulators.witboost import HookCall
from proxy.store.changes import EventDedup
from proxy.store.requests import RequestStore
from proxy.store.routes import CallbackMethods
from proxy.store.tokens import RedisTokens
from proxy.store.transfer.namespace import refuse_while_served
from tests.store.releases.dump import play
from tests.support.faults.topologies import cluster
from tests.support.manual_clock import ManualClock
from tests.support.rig import OPERATOR_KEY, Rig, get_json, post_json
from tests.support.site import KEY, Site, keyed, open_site

SECOND, HOUR = 1_000, 3_600_000
BOTH = pytest.mark.parametrize(
    "redis_url", ["embedded", "redis-server"], indirect=True, scope="session"
)


@pytest.fixture
async def site(
    tmp_path: Path, redis_url: str, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Site]:
    async with open_site(tmp_path, redis_url, clock, capsys, encryption=keyed()) as site:
        yield site


async def change_key(site: Site, **top: Any) -> None:
    """Do what docs/operations.md says."""
    file = site.folder / secrets.token_hex(4)
    await site.done("export", file)
    site.settings(**{"encryption": keyed(), **top})
    await site.done("import", file, "--replace")


async def calls_of(rig: Rig) -> dict[str, Mapping[str, Any]]:
    """Return the hook calls of all requests, by correlation id."""
    store = rig.program.store
    entries = [await store.load(each) for each in await store.list_ids(list(State), limit=100)]
    return {it.record.id: orjson.loads(it.payload) for it in entries if it is not None}


async def ask_again(
    rig: Rig, call: Mapping[str, Any], *, reopen: bool = False, **fields: Any
) -> HookCall:
    """Send a hook call as it was, or with other content."""
    fields = {**call["fields"], **fields}
    return await rig.witboost.ask(fields, respond_to=call["respondToUrl"], reopen=reopen)


async def state_of(rig: Rig, correlation_id: str) -> State:
    entry = await rig.program.store.load(correlation_id)
    assert entry is not None
    return entry.record.state


async def finish(rig: Rig) -> None:
    """Do what people do until every request is done; the desk tells by events."""
    for _ in range(6):
        for correlation_id in await calls_of(rig):
            state = await state_of(rig, correlation_id)
            if action := {State.HELD: "release", State.DEAD: "retry"}.get(state):
                url = f"{rig.url}/api/requests/{correlation_id}/{action}"
                assert (await post_json(url, OPERATOR_KEY, {"reason": "go on"}))[0] == 200
        for ticket in rig.tickets():
            if after := {"new": "approved", "approved": "done"}.get(ticket["status"]):
                rig.desk.decide(ticket["id"], after)
        await rig.desk.events_sent()
        await rig.work(after=HOUR)


async def judge(rig: Rig, calls: Mapping[str, Any]) -> None:
    """Each request has one ticket and is done; each hook had one final status."""
    counts = await rig.program.store.counts()
    assert counts[State.DONE] == sum(counts.values()) == len(calls)
    opened = [ticket["correlation_id"] for ticket in rig.tickets()]
    assert sorted(opened) == sorted(calls)
    told = [entry["correlation_id"] for entry in rig.witboost.journal.of("callback", answer=200)]
    assert sorted(told) == sorted(calls)


async def repeat(rig: Rig, calls: dict[str, Any]) -> None:
    """Repeat every hook call; use the URL of a request that is done for another one."""
    for correlation_id, call in list(calls.items()):
        again = await ask_again(rig, call)
        assert (again.status, again.correlation_id) == (202, correlation_id)
        done = await state_of(rig, correlation_id) is State.DONE
        other = await ask_again(rig, call, motivation="another", reopen=done)
        assert other.status == (202 if done else 400)
        if done:
            assert other.correlation_id not in calls
            calls[str(other.correlation_id)] = call


@BOTH
async def test_after_another_index_key_every_request_goes_on_under_its_id(site: Site) -> None:
    async with site.service() as rig:
        await play(rig)
        calls = await calls_of(rig)
        assert {await state_of(rig, each) for each in calls} == set(State)
    await change_key(site)
    async with site.service() as rig:
        await repeat(rig, calls)
    await change_key(site)  # and once more: with requests of both keys
    async with site.service() as rig:
        for correlation_id, call in calls.items():
            newest = [each for each in calls if calls[each] is call][-1]
            if newest == correlation_id and not (await done_before(rig, calls, correlation_id)):
                assert (await ask_again(rig, call)).correlation_id == correlation_id
        await finish(rig)
        await judge(rig, calls)


async def done_before(rig: Rig, calls: Mapping[str, Any], correlation_id: str) -> bool:
    """Whether a request was asked for with other words than `calls` has."""
    entry = await rig.program.store.load(correlation_id)
    assert entry is not None
    return bool(orjson.loads(entry.payload) != calls[correlation_id])


async def several(site: Site, **how: Any) -> dict[str, Mapping[str, Any]]:
    async with site.service(**how) as rig:
        for _ in range(8):
            await rig.ask()
        return await calls_of(rig)


async def test_export_and_import_report_their_progress(site: Site) -> None:
    await several(site)
    steps = list[tuple[int, ...]]()
    file = site.folder / "export"
    async with site.store() as store:
        await export.export_store(store, file, by="me", progress=lambda *step: steps.append(step))
    assert steps[-1] == (8, 8)
    site.settings(store={"namespace": "another"})
    async with open_stopped_store(site.settings()) as store:
        await export.import_store(
            *(store, file),
            by="me",
            replace=False,
            progress=lambda *step: steps.append(step),
        )
    assert steps[-1] == (16, 16), "each request is verified, and written"


async def test_without_the_key_that_places_repeats_would_be_new_requests(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the test above, as the next one."""
    calls = await several(site)
    await change_key(site)
    async with site.store() as store:  # so a version that does not know of this refuses the store
        mark = (await store.client.hget(store.keys.shared("meta"), "indices")).decode()
        assert mark != replace(store.privacy, placed_by=None).indices
    monkeypatch.setattr(RequestStore, "_id_prefix", lambda _self, _url, digest: digest)
    async with site.service() as rig:
        found = [await ask_again(rig, call) for call in calls.values()]
        assert {it.correlation_id for it in found} != set(calls)


async def test_without_new_digests_repeats_would_be_new_requests(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = await several(site)
    monkeypatch.setattr(export, "reindexed", lambda _privacy, record, _payload: record)
    await change_key(site)
    async with site.service() as rig:
        found = [await ask_again(rig, call) for call in calls.values()]
        assert not {it.correlation_id for it in found} & set(calls)


@BOTH
async def test_nothing_is_named_by_the_old_key_any_more(site: Site) -> None:
    """Who has the old key and a copy of the store can hold no guess to it."""
    async with site.service() as rig:
        call = await rig.ask()
        old, entry = rig.program.store.privacy, await rig.entry(call)
        digests = [old.digest(call.respond_to), entry.record.content_digest]
        whole = await everything(site)
        assert [each for each in digests if each in whole] == digests
    await change_key(site)
    async with site.service() as rig:
        later = await rig.ask()
        digests.append(old.digest(later.respond_to))
        whole = await everything(site)
        assert not [each for each in digests if each in whole]
        assert str(call.correlation_id)[2:10] == digests[0][:8]
        assert str(later.correlation_id)[2:10] != digests[2][:8]


async def everything(site: Site) -> str:
    found = await site.everything()
    return b"\n".join(name + it for name, it in found.items()).decode("latin-1")


@BOTH
async def test_audit_receipts_tokens_and_events_go_on(site: Site) -> None:
    async with site.service() as rig:
        first, second = await rig.ask(), await rig.ask()
        await rig.work()
        waiting, ticket = sorted(
            rig.tickets(), key=lambda it: it["correlation_id"] == first.correlation_id
        )
        rig.desk.decide(ticket["id"], "approved", by="olga")
        await rig.work(after=2 * SECOND)
        url = f"{rig.url}/api/requests/{first.correlation_id}/receipt"
        receipt = (await get_json(url, OPERATOR_KEY))[1]["receipt"]
        ring = rig.program.audit_keys.ring
        assert ring is not None
        tokens = RedisTokens(rig.program.store, ring)
        await tokens.put("key", "refresh-1", system="desk", by="olga")
        assert await tokens.begin_use("key", "a", HOUR)
        assert await tokens.sending("key", "refresh-1", "a")
        assert await EventDedup(rig.program.store).mark_seen("desk", "event-1", keep=HOUR)
        assert await rig.program.pause_store.pause("main", "upgrade", probe_after=HOUR)
        await CallbackMethods(rig.program.store, "settings").set_callback_method("main", "PATCH")
        await rig.program.alarm_board.write([AlarmRecord(1, "backlog_full", "stays behind")])
        pauses, routes = await rig.program.pause_store.pauses(), await routes_of(rig)
        before = await rig.program.streams.sealed()
    await change_key(site)
    async with site.service() as rig:
        keys = (await get_json(f"{rig.url}/api/signing-keys", OPERATOR_KEY))[1]
        assert Verifier.of(orjson.dumps(keys)).open(receipt, kind=RECEIPT)["told"]
        ring = rig.program.audit_keys.ring
        assert ring is not None
        current = await RedisTokens(rig.program.store, ring).current("key")
        assert current is not None
        assert (current.value, current.sent) == ("refresh-1", True)
        assert not await EventDedup(rig.program.store).mark_seen("desk", "event-1", keep=HOUR)
        assert await rig.program.pause_store.pauses() == pauses
        assert (await routes_of(rig)).items() >= routes.items()
        assert (
            await CallbackMethods(rig.program.store, "settings").get_callback_method("main")
            == "PATCH"
        )
        for ref in (waiting["id"], waiting["key"]):
            assert await rig.program.store.find("desk", [ref]) == [second.correlation_id]
    folder = rig.program.settings.audit_folder
    report = examine(folder)
    assert not report.problems
    assert report.last > before.lines
    lines = b"".join(file.read_bytes() for file in sorted(folder.glob("audit-*.jsonl")))
    assert lines.count(b'"StoreExported"') == lines.count(b'"StoreImported"') == 1


async def routes_of(rig: Rig) -> dict[bytes, bytes]:
    store = rig.program.store
    found: dict[bytes, bytes] = await store.client.hgetall(store.keys.shared("routes"))
    return found


async def test_on_a_cluster(
    tmp_path: Path, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with (
        cluster(tmp_path) as nodes,
        open_site(tmp_path, nodes.url, clock, capsys, encryption=keyed()) as site,
    ):
        calls = await several(site)
        await change_key(site)
        async with site.service() as rig:
            for correlation_id, call in calls.items():
                assert (await ask_again(rig, call)).correlation_id == correlation_id
            await rig.work()
            assert len(rig.tickets()) == len(calls)
            with pytest.raises(ConfigurationError, match="a service uses"):
                await refuse_while_served(rig.program.store)


async def test_what_chooses_partitions_moves_to_the_newest_key(site: Site) -> None:
    """So that the keys before it may go."""
    calls = await several(site)
    await change_key(site)
    newest = {"id": "k2", "key": new_key()}
    async with site.service(encryption={"keys": [newest, KEY]}):
        pass
    async with site.service(encryption={"keys": [newest]}) as rig:
        for correlation_id, call in calls.items():
            assert (await ask_again(rig, call)).correlation_id == correlation_id
