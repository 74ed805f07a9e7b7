"""Upgrade and rollback: what any release left in the store is finished by this code.

Two versions side by side are the same case: each keeps fields and lines that it does not know.
"""

import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.domain.models import State
from proxy.errors import ConfigurationError
from proxy.store.requests import LAYOUT
from tests.store.releases.stage import NAMESPACE, Dump, client_of, load, reopen, stage
from tests.support.invariants import check_store
from tests.support.manual_clock import ManualClock
from tests.support.rig import OPERATOR_KEY, Rig, post_json
from tests.support.servers import start_server

RELEASES = sorted((Path(__file__).parent / "releases").glob("*.json"))
HOUR = 3_600_000


@asynccontextmanager
async def upgraded(folder: Path, dump: Dump) -> AsyncIterator[Rig]:
    """Run the present program on what a release left."""
    async with await start_server(folder / "redis", fsync="everysec") as server:
        async with client_of(server.url) as client:
            await load(client, dump.keys)
            run_id = (await client.info("server"))["run_id"]
            for name in dump.keys:
                if ":r:" in name:  # the program was upgraded, not its store
                    await client.hset(name, "run_id", run_id)
        clock = ManualClock()
        clock.advance(HOUR)
        async with stage(folder, server.url, clock) as rig:
            reopen(rig.desk, dump.tickets)
            yield rig


async def finish(rig: Rig, dump: Dump) -> None:
    """Do what people do until every request is done."""
    for _ in range(8):
        for correlation_id in dump.records():
            entry = await rig.program.store.load(correlation_id)
            assert entry is not None
            action = {State.HELD: "release", State.DEAD: "retry"}.get(entry.record.state)
            if action:
                url = f"{rig.url}/api/requests/{correlation_id}/{action}"
                status, said = await post_json(url, OPERATOR_KEY, {"reason": "after the upgrade"})
                assert status == 200, said
        for ticket in rig.tickets():
            if ticket["status"] == "new":
                rig.desk.decide(ticket["id"], "approved")
            elif ticket["status"] == "approved":
                rig.desk.decide(ticket["id"], "done")
        await rig.desk.events_sent()
        await rig.work(after=HOUR)


async def judge(rig: Rig, dump: Dump) -> None:
    """Everything is done, each with one ticket; nothing was told twice."""
    counts = await rig.program.store.counts()
    assert counts[State.DONE] == len(dump.records()), counts
    opened = [ticket["correlation_id"] for ticket in rig.tickets()]
    assert sorted(opened) == sorted(dump.records())
    told = [entry["correlation_id"] for entry in rig.witboost.journal.of("callback", answer=200)]
    assert len(told) == len(set(told)) == len(dump.records()) - 1  # one was done before
    await check_store(rig.program.store)


@pytest.mark.parametrize("file", RELEASES, ids=lambda file: file.stem)
async def test_what_a_release_left_is_finished(tmp_path: Path, file: Path) -> None:
    dump = Dump.read(file)
    assert {record["state"] for record in dump.records().values()} == set(State)
    async with upgraded(tmp_path, dump) as rig:
        await finish(rig, dump)
        await judge(rig, dump)


def by_the_next_version(dump: Dump) -> Dump:
    """Return a dump as the next version would have left it: with more than we know."""
    keys: dict[str, Any] = copy.deepcopy(dict(dump.keys))
    keys[f"{NAMESPACE}:meta"][1]["layout"] = str(LAYOUT + 1)
    for name, (_, content) in keys.items():
        if ":r:" in name:
            content |= {"version": str(LAYOUT + 1), "novelty": "kept"}
        elif ":h:" in name:
            content.append(orjson.dumps({"at": 1, "event": "Teleported", "to": "x"}).decode())
        elif name == f"{NAMESPACE}:routes":
            for digest, text in content.items():
                content[digest] = _with_more(text)
    return Dump(keys, dump.tickets)


def _with_more(text: str) -> str:
    route = orjson.loads(text)
    route |= {"novelty": 1, "poll": {**route["poll"], "novelty": 1}}
    route["guards"]["novelty"] = "hold"
    if route["declaration"]:
        route["declaration"]["novelty"] = {"a": 1}
        route["declaration"]["create"]["novelty"] = True
    return orjson.dumps(route).decode()


async def test_a_release_that_is_rolled_back_finishes_what_the_next_one_left(
    tmp_path: Path,
) -> None:
    dump = by_the_next_version(Dump.read(RELEASES[-1]))
    async with upgraded(tmp_path, dump) as rig:
        await finish(rig, dump)
        await judge(rig, dump)
        for correlation_id in dump.records():
            place = f"{rig.program.store.keys.tag_of(correlation_id)}:r:{correlation_id}"
            assert await rig.program.store.client.hget(place, "novelty") == b"kept"
            events = [line["event"] for line in await rig.program.store.history(correlation_id)]
            assert ("Teleported" in events) == (place.replace(":r:", ":h:") in dump.keys)


def much_newer_records(keys: dict[str, Any]) -> None:
    for name, (_, content) in keys.items():
        if ":r:" in name:
            content["version"] = str(LAYOUT + 2)


def unknown_states(keys: dict[str, Any]) -> None:
    for name, (_, content) in keys.items():
        if ":r:" in name:
            content["state"] = "teleporting"


@pytest.mark.parametrize("change", [much_newer_records, unknown_states])
async def test_what_cannot_be_understood_is_left_alone(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    """Negative control for both: somebody newer must find it as it was."""
    dump = Dump.read(RELEASES[-1])
    keys: dict[str, Any] = copy.deepcopy(dict(dump.keys))
    change(keys)
    async with upgraded(tmp_path, Dump(keys, dump.tickets)) as rig:
        for _ in range(3):
            await rig.work(after=HOUR)
        assert rig.witboost.journal.of("callback") == []
        assert len(rig.tickets()) == len(dump.tickets)
        for name, (_, before) in keys.items():
            if ":r:" in name:
                fields = await rig.program.store.client.hgetall(name)
                after = {key.decode(): value.decode() for key, value in fields.items()}
                ours = {"fence", "holder", "leased", "run_id"}
                assert {k: v for k, v in after.items() if k not in ours} == {
                    k: v for k, v in before.items() if k not in ours
                }


@pytest.mark.parametrize(("layout", "fine"), [(-1, True), (1, True), (2, False), (-2, False)])
async def test_a_store_is_gone_on_with_one_version_away(
    tmp_path: Path, layout: int, *, fine: bool
) -> None:
    dump = Dump.read(RELEASES[-1])
    keys: dict[str, Any] = copy.deepcopy(dict(dump.keys))
    keys[f"{NAMESPACE}:meta"][1]["layout"] = str(LAYOUT + layout)
    if not fine:
        with pytest.raises(ConfigurationError, match="Install a version in between"):
            async with upgraded(tmp_path, Dump(keys, dump.tickets)):
                pass
        return
    async with upgraded(tmp_path, Dump(keys, dump.tickets)) as rig:
        found = await rig.program.store.client.hget(f"{NAMESPACE}:meta", "layout")
        assert int(found) == max(LAYOUT, LAYOUT + layout)
