"""Data: a ticket system sees only the fields that it may, and nobody finds the others elsewhere."""

from typing import Any

import orjson
import pytest

from proxy.domain.models import State
from proxy.security.key_ring import new_key
from proxy.simulators.faults import Fault
from tests.conftest import OpenRig
from tests.support.rig import GRANT, OPERATOR_KEY, Rig, desk_tree, get_json

ASKED = {**GRANT, "salary": "private-salary", "nested": {"iban": "private-iban"}}
PREFIX = "urn:company:service-desk:tickets:" + "0" * 60 + ":"
ALLOWED = ["identities", "verb", "motivation"]


def declare(url: str, **more: Any) -> dict[str, Any]:
    """Return a declaration whose ticket shows all that it can."""
    tree = desk_tree(url)
    tree["create"]["body"]["description"] = "Seen: {{ fields }}"  # as JSON in a text
    return {**tree, **more}


async def ask(rig: Rig) -> tuple[str, Any, Any]:
    """Return a request, the fields on its ticket, and those that an operator sees."""
    call = await rig.ask(ASKED)
    await rig.work()
    (ticket,) = rig.tickets()
    _, shown = await get_json(f"{rig.url}/api/requests/{call.correlation_id}", OPERATOR_KEY)
    seen = orjson.loads(ticket["description"].removeprefix("Seen: "))
    return str(call.correlation_id), seen, shown["hookCall"]["fields"]


async def test_a_ticket_system_sees_no_field_that_it_may_not(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_rig(declare=lambda url: declare(url, allowed_fields=ALLOWED)) as rig:
        correlation_id, ticket, shown = await ask(rig)

        assert ticket == {name: ASKED[name] for name in ALLOWED}
        assert shown == {
            name: value if name in ALLOWED else "(masked)" for name, value in ASKED.items()
        }
        history = await rig.program.store.history(correlation_id)
        assert "private-" not in caplog.text + orjson.dumps(history).decode()


def wordy(url: str) -> dict[str, Any]:
    """Return a desk with ids as long as a directory's names."""
    tree = desk_tree(url)
    tree["ticket"]["id"] = f"join('', ['{PREFIX}', id])"
    for call in ("read", "comment", "cancel"):
        name = "{{ ticket.id[" + str(len(PREFIX)) + ":] }}"
        tree[call]["path"] = tree[call]["path"].replace("{{ ticket.id }}", name)
    return tree


async def test_what_a_ticket_system_calls_things_is_kept_whole(open_rig: OpenRig) -> None:
    """Followed under a part of its id, a ticket would be somebody else's, or nobody's."""
    name = "CN=Olga Grant,OU=Data Owners,OU=Finance,O=Company,L=Düsseldorf,DC=company,DC=com"
    route = {"name": "default", "system": "desk", "guards": {"unknown_approver": "allow"}}
    async with open_rig(declare=wordy, routes=[route]) as rig:
        call = await rig.ask()
        await rig.work()
        ticket = rig.tickets()[0]
        status = "waiting for somebody of the finance department who may approve such access"
        for _ in range(3):
            rig.desk.decide(ticket["id"], status)
            await rig.work(after=10_000)
        assert (await rig.entry(call)).record.ticket_id == PREFIX + ticket["id"]
        assert 'unknown_native_status"} 1.0' in rig.program.metrics.text().decode()
        rig.witboost.switch_on(Fault("callback", "answer", status=503))
        rig.desk.decide(ticket["id"], "approved", by=name)
        await rig.work(after=10_000)
        await rig.work(after=10_000)
        assert (rig.final(call) or {})["hookInfo"]["decidedBy"] == name


async def test_a_lost_key_is_an_alarm_and_hides_one_request_only(open_rig: OpenRig) -> None:
    """A key that went too early: its requests wait, and everything else goes on."""
    first, second = ({"id": name, "key": new_key()} for name in ("first", "second"))
    index = new_key()
    async with open_rig(encryption={"keys": [first], "index_key": index}) as rig:
        lost = str((await rig.ask()).correlation_id)
        namespace = rig.program.settings.store.namespace
    here = {"namespace": namespace}
    both = {"keys": [second, first], "index_key": index}
    async with open_rig(encryption=both, store=here):
        pass  # what has no retention is under the new key from now on
    async with open_rig(encryption={"keys": [second], "index_key": index}, store=here) as rig:
        call = await rig.ask()
        await rig.work()
        assert await rig.state(call) is State.PENDING
        assert 'request_unreadable"} 1.0' in rig.program.metrics.text().decode()
        status, listed = await get_json(f"{rig.url}/api/requests", OPERATOR_KEY)
        assert status == 200
        found = {it["correlationId"]: it["status"] for it in listed["requests"]}
        assert found == {lost: "received", call.correlation_id: "pending"}
        status, said = await get_json(f"{rig.url}/api/requests/{lost}", OPERATOR_KEY)
        assert status == 400
        assert "key first, which is not in the key ring" in said["detail"]
    async with open_rig(encryption=both, store=here) as rig:
        await rig.work(after=60_000)
        entry = await rig.program.store.load(lost)
        assert entry is not None
        assert entry.details.reason  # it is worked on again; the desk of this program is another


async def test_without_a_list_it_sees_all(open_rig: OpenRig) -> None:
    async with open_rig(declare=declare) as rig:
        _, ticket, shown = await ask(rig)

        assert ticket == shown == ASKED
