"""After a loss: what doctor finds, what it mends, and what it says that nobody can know."""

import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from proxy.audit.files import files_in
from proxy.audit.replay import replay
from proxy.cli import main
from proxy.cli.commands.audit import examine
from proxy.domain.models import State, Ticket
from proxy.domain.schedule import DAY
from proxy.maintenance.doctor import Doctor, DoctorInputs
from proxy.maintenance.findings import Finding
from proxy.security.key_ring import new_key
from proxy.simulators.faults import Fault
from proxy.store.at_rest import Privacy
from proxy.store.embedded.server import EmbeddedServer
from proxy.store.layout import StoreLayout
from proxy.tickets.port import TicketSystem
from tests.conftest import OpenRig
from tests.support.invariants import check_store
from tests.support.manual_clock import ManualClock
from tests.support.rig import Rig, open_rig
from tests.support.servers import start_server

SECOND = 1_000
ENCRYPTION = {"keys": [{"id": "k1", "key": new_key()}], "index_key": new_key()}


class Machine:
    """A rig on a server of its own, which can be stopped, damaged and started again."""

    def __init__(self, folder: Path, server: EmbeddedServer, rig: Rig) -> None:
        self.folder, self.server, self.rig = folder, server, rig
        self.steps: list[tuple[int, ...]] = []

    def size(self) -> int:
        return self._file().stat().st_size

    def _file(self) -> Path:
        (file,) = (self.folder / "store-server").rglob("*.incr.aof")
        return file

    async def lose_the_end(self, size: int) -> None:
        """Cut the append-only file, as a power cut does with everysec: in the middle of a write."""
        await self.server.close()
        with self._file().open("r+b") as file:
            file.truncate(size)
        self.server = await start_server(self.folder / "store-server")

    async def keep_a_snapshot(self) -> None:
        await self.server.close()
        shutil.copytree(self.folder / "store-server", self.folder / "snapshot")
        self.server = await start_server(self.folder / "store-server")
        await StoreLayout(self.rig.program.store).connect()  # as a program that starts now does

    async def restore_the_snapshot(self) -> None:
        await self.server.close()
        shutil.rmtree(self.folder / "store-server")
        shutil.copytree(self.folder / "snapshot", self.folder / "store-server")
        self.server = await start_server(self.folder / "store-server")

    async def doctor(
        self, *, repair: bool = False, systems: Mapping[str, TicketSystem] | None = None
    ) -> list[Finding]:
        program = self.rig.program
        folder = program.settings.audit_folder
        patient = DoctorInputs(
            store=program.store,
            streams=program.streams,
            audited=replay(file.lines() for file in files_in(folder)),
            report=examine(folder),
            systems=systems or program.systems,
            since=0,
            retention=90 * DAY,
        )
        doctor = Doctor(patient, repair=repair, progress=lambda *step: self.steps.append(step))
        return [finding async for finding in doctor.examine()]


@pytest.fixture
async def machine(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Machine]:
    server = await start_server(tmp_path / "store-server")
    async with open_rig(tmp_path, server.url, clock, encryption=ENCRYPTION) as rig:
        machine = Machine(tmp_path, server, rig)
        yield machine
        await check_store(rig.program.store)
    await machine.server.close()


def results(findings: list[Finding], about: str) -> set[str]:
    return {finding.result for finding in findings if finding.about == about}


async def test_where_nothing_was_lost_nothing_is_wrong(machine: Machine) -> None:
    rig = machine.rig
    await rig.ask()
    await rig.work()
    await rig.program.sealer().seal()
    findings = await machine.doctor()
    assert {finding.result for finding in findings} == {"ok", "unknown"}
    assert machine.steps == [(1, 2), (2, 2)], "the request in the audit, and in the store"
    tickets, moments = [finding.message for finding in findings if finding.result == "unknown"]
    assert "cannot list its tickets" in tickets, "what cannot be known is never fine"
    assert "lost before the audit was sealed (about a second)" in moments


async def test_the_end_of_the_append_only_file_is_lost(machine: Machine) -> None:
    """A request that was told 202, opened its ticket and was forgotten ends as any other."""
    rig = machine.rig
    kept = await rig.ask()
    await rig.work()
    size = machine.size()
    lost = await rig.ask()
    rig.desk.switch_on(Fault("create", "reset", after_effect=True))
    await rig.work()
    assert len(rig.tickets()) == 2
    await rig.program.sealer().seal()
    await machine.lose_the_end(size + 40)

    findings = await machine.doctor()
    request = str(lost.correlation_id)
    assert "wrong" in results(findings, request)
    assert results(findings, str(kept.correlation_id)) == set()
    assert results(findings, "the last moments before a loss") == {"unknown"}
    assert await rig.program.store.load(request) is None, "without --repair nothing is changed"

    repaired = await machine.doctor(repair=True)
    assert "repaired" in results(repaired, request)
    assert (await rig.entry(lost)).record.state is State.OPENING, "a look-up comes first"
    await rig.work(after=60 * SECOND)
    await rig.work(after=60 * SECOND)
    assert len(rig.tickets()) == 2, "no second ticket"
    for ticket in rig.tickets():
        rig.desk.decide(ticket["id"], "approved", by="olga")
    await rig.work(after=600 * SECOND)
    assert await rig.state(lost) is State.DONE
    assert (rig.final(lost) or {})["status"] == "OK"
    assert (rig.final(kept) or {})["status"] == "OK"
    events = [line["event"] for line in await rig.program.store.history(request)]
    assert events[0] == "Admitted"
    assert "Restored" in events


async def test_without_the_look_up_first_there_would_be_two(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: written back as it was sealed, and not as in doubt."""
    rig = machine.rig
    size = machine.size()
    await rig.ask()
    await rig.program.sealer().seal()  # sealed as received; its ticket comes after
    await rig.work()
    await machine.lose_the_end(size)
    monkeypatch.setattr("proxy.maintenance.doctor.advance_entry", lambda entry, _event: entry)
    rig.program.store.run_ids.clear()
    findings = await machine.doctor(repair=True)
    assert any(finding.result == "repaired" for finding in findings)
    client = rig.program.store.client
    (request,) = replay(it.lines() for it in files_in(rig.program.settings.audit_folder))
    # nor may the other run id make it look
    await client.hdel(f"{rig.program.store.keys.tag_of(request)}:r:{request}", "run_id")
    await rig.work(after=60 * SECOND)
    assert len(rig.tickets()) == 2


async def test_an_older_snapshot_is_restored(machine: Machine) -> None:
    """Requests go back in time: one to before its ticket, one to before its end, one to nothing."""
    rig = machine.rig
    early, late = await rig.ask(), await rig.ask()
    await rig.work()
    by_request = {it["correlation_id"]: it for it in rig.tickets()}
    first, second = by_request[early.correlation_id], by_request[late.correlation_id]
    sealer = rig.program.sealer()
    await sealer.seal()
    await machine.keep_a_snapshot()
    rig.desk.decide(first["id"], "approved", by="olga")
    await rig.work(after=2 * SECOND)
    assert await rig.state(early) is State.DONE
    new = await rig.ask()
    await rig.work()
    rig.desk.decide(second["id"], "rejected", by="olga")
    await sealer.seal()
    await machine.restore_the_snapshot()

    assert (await rig.entry(early)).record.state is State.PENDING
    findings = await machine.doctor(repair=True)
    assert results(findings, "store") == {"wrong"}
    assert "repaired" in results(findings, str(early.correlation_id))
    assert "repaired" in results(findings, str(new.correlation_id))
    assert (await rig.entry(early)).record.state is State.DONE
    assert (await rig.entry(new)).record.ticket_id, "its ticket is known again"
    await rig.work(after=60 * SECOND)
    assert (rig.final(late) or {})["status"] == "KO"
    assert len(rig.tickets()) == 3
    again = await machine.doctor()
    assert not {"wrong", "repaired"} & {it.result for it in again if it.about != "store"}


async def test_a_decision_that_may_have_been_told_is_told_again(machine: Machine) -> None:
    """witboost cannot be asked: a 409 to the second sending says that the first one arrived."""
    rig = machine.rig
    call = await rig.ask()
    await rig.work()
    size = machine.size()
    rig.desk.decide(rig.tickets()[0]["id"], "approved", by="olga")
    rig.witboost.switch_on(Fault("callback", "answer", status=503))
    await rig.work(after=2 * SECOND)
    assert await rig.state(call) is State.DECIDED
    await rig.program.sealer().seal()
    await rig.work(after=10 * SECOND)  # told, and this is neither sealed nor kept
    assert await rig.state(call) is State.DONE
    await machine.lose_the_end(size)
    findings = await machine.doctor(repair=True)
    request = str(call.correlation_id)
    assert {"repaired", "unknown"} <= results(findings, request)
    await rig.work(after=60 * SECOND)
    assert await rig.state(call) is State.DONE
    assert (rig.final(call) or {})["status"] == "OK"


class Lists:
    """A desk that can list its tickets: those of the simulator, and whatever else it has."""

    overlap = 0

    def __init__(self, rig: Rig, *others: str) -> None:
        self._desk = rig.program.systems["desk"]
        self._rig, self._others = rig, others

    def __getattr__(self, name: str) -> Any:
        return getattr(self._desk, name)

    async def changes(self, since: int) -> Mapping[str, int]:
        return dict.fromkeys([*(it["id"] for it in self._rig.tickets()), *self._others], since)


async def test_tickets_that_no_request_knows_are_found_where_they_are_listed(
    machine: Machine,
) -> None:
    rig = machine.rig
    await rig.ask()
    await rig.work()
    await rig.program.sealer().seal()
    findings = await machine.doctor(systems={"desk": cast("TicketSystem", Lists(rig))})
    assert results(findings, "desk") == {"ok"}
    findings = await machine.doctor(systems={"desk": cast("TicketSystem", Lists(rig, "4711"))})
    (wrong,) = [it for it in findings if it.result == "wrong"]
    assert "ticket 4711 was created by us, but belongs to no request" in wrong.message


async def test_two_tickets_of_a_lost_request_are_named(machine: Machine) -> None:
    """The declared exception, found: a second create that nobody could prevent."""
    rig = machine.rig
    size = machine.size()
    lost = await rig.ask()
    await rig.program.sealer().seal()
    await rig.work()
    (ticket,) = rig.tickets()
    await machine.lose_the_end(size)
    lists = cast("Any", Lists(rig))

    async def find(_request: str) -> list[Ticket]:
        return [Ticket(ticket["id"], ticket["key"]), Ticket("2", "DESK-2")]

    lists.find = find
    findings = await machine.doctor(systems={"desk": lists})
    says = [it.message for it in findings if it.about == lost.correlation_id]
    assert any("several tickets" in it and "DESK-2" in it for it in says)


@pytest.mark.parametrize("late", [True, False])
async def test_a_create_that_came_after_all_is_found(machine: Machine, *, late: bool) -> None:
    """The declared exception again: nothing is lost, and there are two tickets all the same."""
    rig = machine.rig
    rig.desk.switch_on(Fault("create", "reset"))  # of a process that was frozen just then
    call = await rig.ask()
    await rig.work()
    await rig.work(after=60 * SECOND)
    await rig.program.sealer().seal()
    (ticket,) = rig.tickets()
    if late:
        sent = {it: ticket[it] for it in ("title", "description", "correlation_id")}
        rig.desk.tickets.add(sent, pages=rig.desk.url, now=rig.clock.now())
    findings = [it for it in await machine.doctor() if it.about == call.correlation_id]
    assert [it.result for it in findings] == ["wrong"] * late
    assert all("several tickets for it: DESK-1, DESK-2" in it.message for it in findings)


async def test_without_keys_what_was_lost_is_named_and_not_rebuilt(machine: Machine) -> None:
    rig = machine.rig
    kept = await rig.ask()
    size = machine.size()
    lost = await rig.ask()
    await rig.program.sealer().seal()
    await machine.lose_the_end(size)
    rig.program.store.privacy = Privacy()
    findings = await machine.doctor(repair=True)
    (unreadable,) = [it for it in findings if it.about == kept.correlation_id]
    assert unreadable.result == "wrong"
    assert "it cannot be read" in unreadable.message
    (finding,) = [it for it in findings if it.about == lost.correlation_id]
    assert finding.result == "wrong", "the audit without a key, as without files, rebuilds nothing"
    assert "without encryption.keys" in finding.message


async def test_an_index_that_differs_is_explained_and_put_right_once(machine: Machine) -> None:
    """Nothing is lost, and no file is needed: an index is made again from its record."""
    rig = machine.rig
    request = str((await rig.ask()).correlation_id)
    await rig.work()
    await rig.program.sealer().seal()
    tag = rig.program.store.keys.tag_of(request)
    await rig.program.store.batcher.command("ZREM", f"{tag}:due", request)

    (wrong,) = [it for it in await machine.doctor() if it.result == "wrong"]
    assert (wrong.about, "not in the list of due requests" in wrong.message) == (request, True)
    assert wrong.message.endswith("--repair corrects it")
    (repaired,) = [it for it in await machine.doctor(repair=True) if it.result == "repaired"]
    assert repaired.about == request
    assert {it.result for it in await machine.doctor(repair=True)} == {"ok", "unknown"}
    ticket = rig.tickets()[0]
    rig.desk.decide(ticket["id"], "approved", by="olga")
    await rig.work(after=2 * SECOND)
    assert rig.witboost.journal.of("callback", answer=200), "it goes on"


async def test_lines_cut_off_with_their_head_are_found_against_the_store(machine: Machine) -> None:
    """The store is a witness of its own: it knows how many lines there were."""
    rig = machine.rig
    await rig.ask()
    await rig.program.sealer().seal()
    (file,) = files_in(rig.program.settings.audit_folder)
    head = rig.program.settings.audit_folder / "head.json"
    before, lines = head.read_bytes(), file.path.read_bytes()
    await rig.ask()
    sealer = rig.program.sealer()
    rig.clock.advance(60 * SECOND)
    await sealer.seal()
    for each in files_in(rig.program.settings.audit_folder)[1:]:
        each.path.unlink()
    file.path.write_bytes(lines)
    head.write_bytes(before)
    assert not examine(rig.program.settings.audit_folder).problems
    findings = await machine.doctor()
    assert "their end was cut off" in next(it.message for it in findings if it.result == "wrong")


async def test_the_command_explains_and_exits_by_what_it_found(
    open_rig: OpenRig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_rig(encryption=ENCRYPTION) as rig:
        await rig.ask()
        await rig.program.sealer().seal()
        config = str(tmp_path / "approval-proxy.yaml")
        from asyncio import to_thread  # noqa: PLC0415 - the command has a loop of its own

        assert await to_thread(main, ["doctor", "--config", config]) == 0
        assert "ok        audit: complete, 2 lines" in capsys.readouterr().out
        store = rig.program.store
        await store.client.flushdb()
        assert await to_thread(main, ["doctor", "--config", config]) == 1
        assert "WRONG" in capsys.readouterr().out
        assert await to_thread(main, ["doctor", "--repair", "--config", config]) == 1
        assert "It was written back; its state is opening" in capsys.readouterr().out
