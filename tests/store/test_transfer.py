"""What an import takes: whole files alone, an empty namespace, nobody who serves; and it is begun
anew where it was interrupted.
"""

import errno
import os
import secrets
import stat
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from proxy.audit.files import files_in
from proxy.audit.replay import replay
from proxy.cli.commands.audit import examine
from proxy.domain.schedule import DAY
from proxy.errors import ConfigurationError, StoreUnavailableError
from proxy.maintenance import export, export_file
from proxy.maintenance.doctor import Doctor, DoctorInputs
from proxy.maintenance.findings import Finding
from proxy.security.key_ring import new_key
from proxy.store import keys
from proxy.store.changes import EventDedup
from proxy.store.requests import RequestStore
from proxy.store.transfer import exporter, importer
from proxy.store.transfer.exporter import _HASHES, _LEFT_OUT, _TEXTS, Item, items
from proxy.store.transfer.importer import Importer
from proxy.store.transfer.namespace import key_names, refuse_while_served
from proxy.witboost.hook_call import content_of, respond_to
from tests.maintenance.test_export import ask_again, change_key, several
from tests.store.releases.dump import play
from tests.store.releases.stage import NAMESPACE, Dump, client_of, load
from tests.store.test_at_rest import ADMISSION
from tests.support.invariants import check_store
from tests.support.manual_clock import ManualClock
from tests.support.rig import Rig
from tests.support.site import KEY, Site, keyed, open_site

SECOND, HOUR = 1_000, 3_600_000
SORTED = orjson.OPT_SORT_KEYS


@pytest.fixture
async def site(
    tmp_path: Path, redis_url: str, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Site]:
    async with open_site(tmp_path, redis_url, clock, capsys, encryption=keyed()) as site:
        yield site


async def exported(site: Site) -> Path:
    file = site.folder / secrets.token_hex(4)
    await site.done("export", file)
    return file


def elsewhere(site: Site, **top: Any) -> None:
    """Let the settings name a namespace that is empty."""
    store = {"namespace": f"t{secrets.token_hex(6)}", **top.pop("store", {})}
    site.settings(store=store, **top)


# -- everything arrives -----------------------------------------------------------------------


async def content(store: RequestStore) -> Counter[bytes]:
    """Return all that a store holds, in clear and in one spelling, but for what is made anew."""
    assert store.privacy.ring is not None
    found = [item async for item in items(store, store.privacy.ring)]
    return Counter(_spelled(it) for it in found if it["kind"] != "stream" or it["entries"])


def _spelled(item: Item) -> bytes:
    made_anew: dict[str, Any] = {"until": None, "last": ""}
    if item["kind"] == "request":
        record, texts = (_pairs(item[part]) for part in ("record", "texts"))
        made_anew |= {"texts": texts, "record": {**record, "url": "", "content": "", "run_id": ""}}
    elif item["kind"] == "hash":
        made_anew |= {"words": _pairs(item["words"])}
    return orjson.dumps({**item, **made_anew}, option=SORTED)


def _pairs(words: Sequence[str]) -> dict[str, str]:
    return dict(zip(words[::2], words[1::2], strict=True))


@pytest.mark.parametrize("encryption", [{}, keyed()], ids=["same key", "another key"])
async def test_everything_arrives(site: Site, encryption: dict[str, Any]) -> None:
    async with site.service() as rig:
        await play(rig)
        assert await EventDedup(rig.program.store).mark_seen("desk", "event-1", keep=HOUR)
        credentials = rig.program.credentials()
        assert credentials is not None
        await credentials.look()
    async with site.service(seal=False) as rig:
        await rig.ask()
    file = await exported(site)
    async with site.store() as store:
        before = await content(store)
    elsewhere(site, encryption=encryption)
    assert "9 requests" in (await site.done("import", file)).out
    async with site.store() as store:
        after = await content(store)
        await check_store(store)
    gone, come = before - after, after - before
    for changed in (gone, come):  # the import is noted, and nothing else
        assert sorted(orjson.loads(it)["name"] for it in changed) == [":exports", "exports"]
    assert sum(before.values()) > 20


LISTED = [
    line.split()[0]
    for line in (keys.__doc__ or "").splitlines()
    if line.startswith(("    {ns", "    ns"))
]


@pytest.mark.parametrize("listed", LISTED)
def test_every_key_of_a_store_is_exported_or_known_to_be_left_out(listed: str) -> None:
    """A key that `store/keys.py` lists and `store/leaving.py` does not know stops every export."""
    relative = listed.replace("ns", "", 1).replace("KEY", "key").replace("X", "pauses")
    of_partition = relative.startswith("{:p}") or relative in {":wake", "{:pauses}:audit"}
    known = [_TEXTS, _HASHES, _LEFT_OUT]
    assert of_partition or [it for it in known if it.fullmatch(relative)], listed


# -- whole files alone ------------------------------------------------------------------------


def cut(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


def cut_in_a_line(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1][: len(lines[-1]) // 2]]


def edited(lines: list[bytes]) -> list[bytes]:
    middle = bytearray(lines[2])
    middle[40] = ord("A") if middle[40] != ord("A") else ord("B")
    return [*lines[:2], bytes(middle), *lines[3:]]


def swapped(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[3], lines[2], *lines[4:]]


def doubled(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], *lines[2:]]


def another_head(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b'"requests":', b'"requests":1'), *lines[1:]]


def more(lines: list[bytes]) -> list[bytes]:
    return [*lines, b"k1.AAAA\n"]


def head_alone(lines: list[bytes]) -> list[bytes]:
    return lines[:1]


def nothing(_lines: list[bytes]) -> list[bytes]:
    return []


Damage = Callable[[list[bytes]], list[bytes]]
DAMAGES: list[Damage] = [
    cut,
    cut_in_a_line,
    edited,
    swapped,
    doubled,
    another_head,
    more,
    head_alone,
    nothing,
]


async def test_a_damaged_file_is_refused_before_anything_is_written(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_file, "_LARGE", 2_000)  # many lines
    await several(site)
    whole = await exported(site)
    lines = whole.read_bytes().splitlines(keepends=True)
    assert len(lines) > 5
    elsewhere(site)
    for damage in DAMAGES:
        file = site.folder / damage.__name__
        file.write_bytes(b"".join(damage(lines)))
        said = await site.refused("import", file)
        expected = "is not an export" if damage is nothing else "is damaged"
        assert expected in said, damage
    assert "not_there cannot be read" in await site.refused("import", site.folder / "not_there")
    await site.done("import", whole)  # the negative control


async def test_an_export_is_for_its_owner_and_shows_nobody_else_anything(site: Site) -> None:
    async with site.service() as rig:
        await rig.ask()
    file = await exported(site)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    shown = file.read_bytes()
    for private in (b"john.doe", b"access to this", b"actionHandler", b"DESK-", b"witboost"):
        assert private not in shown
    assert "exists already" in await site.refused("export", file)
    assert file.read_bytes() == shown
    elsewhere(site, encryption={"keys": [{"id": "k2", "key": new_key()}]})
    assert "the key k1, which is not in the key ring" in await site.refused("import", file)
    site.settings(encryption={"keys": [{"id": "k2", "key": new_key()}, KEY]})
    await site.done("import", file)


async def test_what_is_unfinished_is_removed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await several(site)

    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    file = site.folder / "export"
    said = await site.command("export", file)
    assert (said.code, "cannot be written: No space left" in said.err) == (1, True)
    assert not file.exists()


# -- nobody else is there ---------------------------------------------------------------------


async def test_a_namespace_that_is_not_empty_is_refused(site: Site) -> None:
    await several(site)
    file = await exported(site)
    assert "is not empty. Name another one" in await site.refused("import", file)
    former = site.namespace
    elsewhere(site)
    await several(site)
    said = await site.refused("import", file, "--replace")
    assert "does not hold what was exported" in said
    site.settings(store={"namespace": former})
    await several(site)  # a service ran since
    assert "or it changed since" in await site.refused("import", file, "--replace")
    await site.done("import", await exported(site), "--replace")


async def test_no_service_may_run(site: Site) -> None:
    await several(site)
    file = await exported(site)
    async with site.service() as rig:
        await rig.ask()
        for words in (("export", site.folder / "other"), ("import", file, "--replace")):
            said = await site.command(*words)
            assert (said.code, "a service uses store.namespace" in said.err) == (1, True), said
        assert not (site.folder / "other").exists()
    assert "is empty" in await _nothing(site)


async def _nothing(site: Site) -> str:
    elsewhere(site)
    return await site.refused("export", site.folder / "other")


async def test_a_service_that_is_not_seen_is_noticed_by_what_it_does(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may not tell who is connected."""
    monkeypatch.setattr(export, "refuse_while_served", _sees_nobody)
    monkeypatch.setattr(exporter, "key_names", _meanwhile(key_names, site))
    await several(site)
    async with site.service():
        said = await site.command("export", site.folder / "other")
        assert (said.code, "the store changed while" in said.err) == (1, True), said
    assert not (site.folder / "other").exists()


async def test_a_server_that_gives_no_names_and_tells_none_is_done_without(
    site: Site, redis: Redis
) -> None:
    await several(site)
    server: Any = redis
    refused = "-client|setname -client|list"
    await server.execute_command(f"ACL SETUSER limited on >x ~* &* +@all {refused}")
    site.redis_url = f"{site.redis_url}?username=limited&password=x"
    async with site.service() as rig:
        await refuse_while_served(rig.program.store)


async def _sees_nobody(_store: RequestStore) -> None:
    return None


def _meanwhile(names: Any, site: Site) -> Any:
    async def with_a_call(store: RequestStore) -> AsyncIterator[list[str]]:
        yield [name async for some in names(store) for name in some]
        async with client_of(str(site.redis_url)) as client:
            await client.xadd(f"{store.keys.tag(0)}:audit", {"ar": "{}"})

    return with_a_call


async def test_a_store_of_our_own_is_exported_and_imported_while_nobody_uses_it(
    tmp_path: Path, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a redis_url: the index key is a file in the folder, and begins anew without it."""
    async with open_site(tmp_path, None, clock, capsys) as site:
        async with site.service() as rig:
            call = await rig.ask()
            said = await site.command("export", tmp_path / "export")
            assert (said.code, "a service runs on store.folder" in said.err) == (1, True)
        await site.done("export", tmp_path / "export")
        key = tmp_path / "store" / "index.key"
        before = key.read_bytes()
        key.unlink()
        await site.done("import", tmp_path / "export", "--replace")
        assert key.read_bytes() != before
        async with site.service() as rig:
            again = await rig.ask(respond_to=call.respond_to)
            assert again.correlation_id == call.correlation_id


async def test_a_store_of_our_own_moves_to_a_server(
    tmp_path: Path, redis_url: str, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its keys are in its folder: the one that encrypts must be named."""
    async with open_site(tmp_path, None, clock, capsys) as site:
        calls = await several(site)
        await site.done("export", tmp_path / "export")
        site.redis_url, encryption = redis_url, keyed()
        site.settings(encryption=encryption)
        assert "the key of an embedded server" in await site.refused("import", tmp_path / "export")
        before = {"id": "encryption", "key": {"file": str(tmp_path / "store" / "encryption.key")}}
        site.settings(encryption={"keys": [KEY, before]})
        await site.done("import", tmp_path / "export")
        async with site.service() as rig:
            for correlation_id, call in calls.items():
                assert (await ask_again(rig, call)).correlation_id == correlation_id


async def test_another_index_key_is_refused_with_the_way_to_change_it(site: Site) -> None:
    await several(site)
    with pytest.raises(ConfigurationError, match=r"store export FILE; .* import FILE --replace"):
        await several(site, encryption=keyed())


# -- interrupted, older, elsewhere ------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_an_import_that_was_interrupted_is_begun_anew(
    site: Site, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(export_file, "_LARGE", 2_000)
    calls = await several(site)
    file = await exported(site)
    site.settings(encryption=keyed())
    with monkeypatch.context() as patch:
        patch.setattr(Importer, "write", _dies(Importer.write, after))
        said = await site.command("import", file, "--replace")
        assert (said.code, "killed" in said.err) == (1, True)
    with pytest.raises(ConfigurationError, match="was not finished"):
        await several(site)
    await site.done("import", file)
    async with site.service() as rig:
        for correlation_id, call in calls.items():
            assert (await ask_again(rig, call)).correlation_id == correlation_id
        await rig.work()
        assert len(rig.tickets()) == len(calls)
        assert not rig.desk.journal.of("find"), "nothing was in doubt"


def _dies(write: Any, after: int) -> Any:
    left = [after]

    async def dying(self: Importer, some: Sequence[Item]) -> None:
        if not left[0]:
            raise StoreUnavailableError("killed", maybe_sent=True)
        left[0] -= 1
        await write(self, some)

    return dying


@pytest.mark.parametrize("doubt", [True, False], ids=["", "control"])
async def test_after_an_older_export_no_second_ticket_is_created(
    site: Site, redis: Redis, monkeypatch: pytest.MonkeyPatch, *, doubt: bool
) -> None:
    """A backup does not know what was sent after it: that is looked up, on the same server too."""
    calls = await several(site)
    file = await exported(site)
    async with site.service() as rig:
        await rig.work()
        assert len(rig.tickets()) == len(calls)
    if not doubt:
        monkeypatch.setattr(importer, "_NO_SERVER", (await redis.info("server"))["run_id"])
    elsewhere(site)
    await site.done("import", file)
    async with site.service() as rig:
        await rig.work(after=HOUR)
        assert len(rig.tickets()) == len(calls) * (1 if doubt else 2)


async def test_an_older_export_goes_on_with_what_the_audit_knows(site: Site) -> None:
    """A backup: what happened after it is written back by `doctor --repair`."""
    calls = await several(site)
    file = await exported(site)
    async with site.service() as rig:
        await rig.work()
        for ticket in rig.tickets()[:4]:
            rig.desk.decide(ticket["id"], "approved", by="olga")
        await rig.work(after=HOUR)
        ended = await rig.program.store.counts()
    elsewhere(site, encryption=keyed())
    await site.done("import", file)
    async with site.service() as rig:
        assert "repaired" in results(await doctor(rig, repair=True))
        assert await rig.program.store.counts() == ended
        for correlation_id, call in calls.items():
            assert (await ask_again(rig, call)).correlation_id == correlation_id
        await rig.work(after=HOUR)
        assert len(rig.tickets()) == len(calls)
        assert len(rig.witboost.journal.of("callback", answer=200)) == 4


@pytest.mark.parametrize("partitions", [1, 7])
async def test_another_number_of_partitions(site: Site, partitions: int) -> None:
    calls = await several(site)
    await change_key(site, store={"partitions": partitions})
    async with site.service() as rig:
        assert len(rig.program.store.keys.tags()) == partitions
        for correlation_id, call in calls.items():
            assert (await ask_again(rig, call)).correlation_id == correlation_id
        await rig.work()
        assert len(rig.tickets()) == len(calls)
    assert not examine(rig.program.settings.audit_folder).problems
    # ids that were made since tell no more than their partition
    file = await exported(site)
    elsewhere(site, store={"partitions": 4})
    assert f"fit into {partitions} partitions only" in await site.refused("import", file)


async def test_partitions_stay_while_their_audit_waits(site: Site) -> None:
    async with site.service(seal=False) as rig:
        await rig.ask()
    file = await exported(site)
    elsewhere(site, store={"partitions": 7})
    assert "changes wait to be written to the audit" in await site.refused("import", file)
    site.settings(store={"partitions": 4})
    await site.done("import", file)


async def test_doctor_rebuilds_what_is_lost_after_an_import(site: Site) -> None:
    """From the audit of before: written under other names, and found by another key."""
    calls = await several(site)
    file = await exported(site)
    elsewhere(site, encryption=keyed(), store={"partitions": 7})
    await site.done("import", file)
    async with site.service() as rig:
        store, lost = rig.program.store, next(iter(calls))
        assert results(await doctor(rig)) <= {"ok", "unknown"}
        entry = await store.load(lost)
        assert entry is not None
        tag = store.keys.tag_of(lost)
        for kind in "rpxh":
            await store.batcher.command("DEL", f"{tag}:{kind}:{lost}")
        await store.batcher.command("DEL", f"{tag}:u:{entry.record.url_digest}")
        await store.batcher.command("ZREM", f"{tag}:s:received", lost)
        await store.batcher.command("HINCRBY", f"{tag}:open", "main/desk", -1)
        assert "repaired" in results(await doctor(rig, repair=True))
        again = await ask_again(rig, calls[lost])
        assert again.correlation_id == lost
        assert (await store.load(lost)).payload == entry.payload  # type: ignore[union-attr]


def results(findings: Sequence[Finding]) -> set[str]:
    return {finding.result for finding in findings}


async def doctor(rig: Rig, *, repair: bool = False) -> list[Finding]:
    program = rig.program
    folder = program.settings.audit_folder
    patient = DoctorInputs(
        store=program.store,
        streams=program.streams,
        audited=replay(file.lines() for file in files_in(folder)),
        report=examine(folder),
        systems=program.systems,
        since=0,
        retention=90 * DAY,
    )
    return [finding async for finding in Doctor(patient, repair=repair).examine()]


async def test_a_store_of_the_first_release_gets_keys(site: Site) -> None:
    """It was begun without any; what its digests were made without is encrypted and keyed."""
    dump = Dump.read(Path(__file__).parent / "releases" / "0.1.0.json")
    site.settings(store={"namespace": NAMESPACE})
    async with client_of(str(site.redis_url)) as client:
        await load(client, dump.keys)
    file = await exported(site)
    elsewhere(site)
    await site.done("import", file)
    async with site.store() as store:
        await check_store(store)
        for correlation_id, record in dump.records().items():
            entry = await store.load(correlation_id)
            assert entry is not None
            assert (entry.record.state, entry.record.route) == (record["state"], record["route"])
            again = await store.admit(
                ADMISSION._replace(
                    respond_to=respond_to(entry.payload), content=content_of(entry.payload)
                )
            )
            assert (again.verdict, again.id) == ("same", correlation_id)
    assert b"I need access" not in b"".join((await site.everything()).values())
    async with client_of(str(site.redis_url)) as client:  # the namespace has a name of its own
        for name in dump.keys:
            await client.delete(name)


async def test_an_event_is_remembered_for_as_long_as_before(site: Site, redis: Redis) -> None:
    async with site.service() as rig:
        assert await EventDedup(rig.program.store).mark_seen("desk", "event", keep=HOUR)
    file = await exported(site)
    elsewhere(site)
    await site.done("import", file)
    left = await redis.pttl(f"{site.namespace}:seen:desk:event")
    assert HOUR - 60_000 < left <= HOUR
