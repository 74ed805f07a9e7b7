"""Routes: who decides depends on what is asked, and some things need nobody."""

import pytest

from proxy.domain.models import State
from tests.conftest import OpenRig
from tests.support.rig import GRANT

REVOKE = {**GRANT, "verb": "revoke"}
ROUTES = [
    {"name": "revokes", "when": "verb == 'revoke'", "decide": "approve", "reason": "Less is fine"},
    {
        "name": "secrets",
        "when": "domain == 'secrets'",
        "decide": "reject",
        "reason": "Nobody gets that",
    },
    {
        "name": "finance",
        "when": "domain == 'finance'",
        "system": "desk",
        "overrides": {
            "create": {"body": {"title": "Finance: {{ verb }}"}},
            "limits": {"title": 90},
        },
    },
]


@pytest.mark.parametrize(
    ("fields", "status", "decision"),
    [(REVOKE, "OK", "approved"), ({**GRANT, "domain": "secrets"}, "KO", "rejected")],
)
async def test_what_a_rule_decides_at_once_opens_no_ticket(
    open_rig: OpenRig, fields: dict[str, str], status: str, decision: str
) -> None:
    async with open_rig(routes=ROUTES) as rig:
        call = await rig.ask(fields)
        await rig.work()
        final = rig.final(call)
        assert final is not None
        assert (final["status"], final["hookInfo"]["decision"]) == (status, decision)
        assert final["hookInfo"]["decidedBy"].startswith("route ")
        assert rig.tickets() == []


async def test_a_route_writes_its_own_tickets_and_leaves_the_rest_as_it_is(
    open_rig: OpenRig,
) -> None:
    async with open_rig(routes=ROUTES) as rig:
        call = await rig.ask()
        await rig.work()
        (ticket,) = rig.tickets()
        assert ticket["title"] == "Finance: grant"
        assert ticket["description"] == GRANT["motivation"]
        rig.desk.decide(ticket["id"], "approved")
        await rig.work(after=1_000)
        assert (rig.final(call) or {})["status"] == "OK"


async def test_what_no_route_takes_is_held_with_a_ticket_nowhere(open_rig: OpenRig) -> None:
    async with open_rig(routes=ROUTES) as rig:
        call = await rig.ask({**GRANT, "domain": "unheard of"})
        await rig.work()
        entry = await rig.entry(call)
        assert (entry.record.state, entry.record.code) == (State.HELD, "unroutable")
        assert "No route applies" in entry.details.reason
        assert rig.tickets() == []
        assert rig.final(call) is None
