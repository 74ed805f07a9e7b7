"""A step whose lease runs out within a call: it may have had its effect, and is named."""

from typing import Any

import pytest

from proxy.engine.bulkhead import Permit
from tests.conftest import OpenRig
from tests.engine.test_operators import act
from tests.support.rig import Rig, desk_tree
from tests.support.watching import SECOND, in_doubt, opened


def delay(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the lease pass between the place that a step takes at the desk, and its call."""
    take = Permit.acquire

    async def take_late(place: Permit, name: str) -> bool:
        taken = await take(place, name)
        if name == "desk":
            rig.clock.advance(rig.program.settings.worker.lease)
        return taken

    monkeypatch.setattr(Permit, "acquire", take_late)


async def test_a_read(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = await opened(rig, caplog)
    delay(rig, monkeypatch)
    [(_, event, state, says)] = await watched.work(after=SECOND)
    assert (event, state) == ("Postponed", "pending")
    assert says["reason"] == "desk: read took longer than the lease allows"


async def test_a_look_up_of_a_create(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = await in_doubt(rig, caplog, made=True)
    delay(rig, monkeypatch)
    [(_, event, state, says)] = await watched.work(after=7 * SECOND)
    assert (event, state) == ("Postponed", "opening")
    assert says["reason"] == "desk: find took longer than the lease allows"


@pytest.mark.parametrize("call", ["find", "cancel", "comment"])
async def test_the_word_that_a_ticket_must_hear(
    open_rig: OpenRig,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    def declare(url: str) -> dict[str, Any]:
        missing = {"cancel"} if call == "comment" else set()
        return {name: part for name, part in desk_tree(url).items() if name not in missing}

    async with open_rig(declare=declare) as rig:
        if call == "find":
            watched = await in_doubt(rig, caplog, made=True)
        else:
            watched = await opened(rig, caplog)
        await act(rig, watched.call, "cancel")
        delay(rig, monkeypatch)
        *_, (_, event, state, says) = await watched.work(after=7 * SECOND)
        assert (event, state, says["code"]) == ("Postponed", "done", "ticket_untold")
        assert says["reason"] == f"desk: {call} took longer than the lease allows"
