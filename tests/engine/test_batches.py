"""Without a list of changes, tickets that are due together are read together: calls, counted."""

from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import pytest

from proxy.domain.models import State, Ticket
from proxy.engine.batched_reads import TicketBatchLoader
from proxy.simulators.faults import Fault
from proxy.tickets.port import TicketSystem
from tests.conftest import OpenRig
from tests.support.rig import GRANT, desk_tree

SECOND = 1_000
MANY = {"path": "/api/tickets", "query": {"ids": "{{ ids | join(',') }}"}, "tickets": "tickets"}
COUNT = 30
LONG = "why " * 1_000  # so that the answer is as long as those of real systems


def declared(url: str) -> dict[str, Any]:
    """Return the desk's declaration, with the call that reads many tickets."""
    return desk_tree(url) | {"read_many": MANY}


async def alone(_reads: TicketBatchLoader, system: TicketSystem, ticket_id: str) -> Ticket:
    return await system.fetch(ticket_id)


@pytest.mark.parametrize("together", [True, False], ids=["together", "negative control"])
async def test_due_tickets_cost_few_calls(open_rig: OpenRig, together: bool) -> None:  # noqa: FBT001
    poll: Mapping[str, Any] = {"first": "30s", "factor": 1.0, "slowest": "30s"}
    routes = [{"name": "default", "system": "desk", "poll": poll}]
    async with open_rig(declare=declared, routes=routes) as rig:
        rig.desk.switch_on(Fault("event", "lose", times=None))
        calls = [await rig.ask({**GRANT, "motivation": LONG}) for _ in range(COUNT)]
        await rig.work()
        for ticket in rig.tickets():
            rig.desk.decide(ticket["id"], "approved")
        with patch.object(
            TicketBatchLoader, "fetch", TicketBatchLoader.fetch if together else alone
        ):
            await rig.work(after=60 * SECOND)
        asked = len(rig.desk.journal.of("read")) + len(rig.desk.journal.of("list"))
        assert [await rig.state(call) for call in calls] == [State.DONE] * COUNT
        assert all(rig.final(call) for call in calls)
        assert asked <= 4 if together else asked == COUNT
