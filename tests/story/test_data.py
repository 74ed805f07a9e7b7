"""Data: a ticket system sees only the fields that it may, and nobody finds the others elsewhere."""

from typing import Any

import orjson
import pytest

from tests.conftest import OpenRig
from tests.rig import GRANT, OPERATOR_KEY, Rig, desk_tree, get_json

ASKED = {**GRANT, "salary": "private-salary", "nested": {"iban": "private-iban"}}
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


async def test_without_a_list_it_sees_all(open_rig: OpenRig) -> None:
    async with open_rig(declare=declare) as rig:
        _, ticket, shown = await ask(rig)

        assert ticket == shown == ASKED
