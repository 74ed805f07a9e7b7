"""Fault switches: what goes wrong, in which operation, how often; one way for all simulators."""

import asyncio
import random
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

Kind = Literal[
    "slow",  # goes on after `seconds`, or when switched off
    "hang",  # goes on when switched off
    "answer",  # answers `status` with `retry_after` and `body`
    "reset",  # resets the connection
    "expire",  # the access token used is good no longer: 401
    "lag",  # the index does not show new tickets yet
    "stale",  # a read shows the ticket as it was before its last change
    "duplicate",  # an event is delivered twice
    "lose",  # an event is never delivered
]
HTTP: frozenset[Kind] = frozenset({"slow", "hang", "answer", "reset"})
ENDINGS: frozenset[Kind] = frozenset({"answer", "reset"})
EVERY_OPERATION = "*"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Fault:
    """What shall go wrong.

    `times` None means until switched off; `probability` is rolled for each call; `subject` limits
    it to one ticket id, correlation id or hook id. With `after_effect` the effect happens and only
    the answer suffers; it then strikes successful calls only. `seconds` is the length of `slow`,
    and for `lag` the age at which a ticket becomes visible (without it, tickets made after the
    switch stay invisible).
    """

    operation: str
    kind: Kind
    times: Annotated[int, Field(ge=1)] | None = 1
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    seconds: Annotated[float, Field(ge=0)] | None = None
    after_effect: bool = False
    status: Annotated[int, Field(ge=300, le=599)] = 500
    retry_after: str | None = None
    headers: dict[str, str] | None = None
    body: Any = None
    subject: str | None = None


PARSER = TypeAdapter(Fault)
"""Reads a fault that came over HTTP; its ValidationError is a ValueError naming the field."""


class Switch:
    """A fault that is on: counts down, and holds back what it makes hang."""

    def __init__(self, fault: Fault, *, since: int) -> None:
        self.fault = fault
        self.since = since  # milliseconds since the epoch
        self.left = fault.times
        self._gate = asyncio.Event()
        self._struck = asyncio.Event()

    @property
    def is_on(self) -> bool:
        """Whether it can still strike."""
        return self.left != 0

    def off(self) -> None:
        """Strike no more, and let go on what hangs."""
        self.left = 0
        self._gate.set()

    async def struck(self, *, within: float = 5.0) -> None:
        """Wait until it struck at least once; raises TimeoutError after `within` seconds."""
        await asyncio.wait_for(self._struck.wait(), within)

    async def held(self) -> None:
        """Wait as `slow` and `hang` do: some seconds, or until switched off."""
        try:
            await asyncio.wait_for(
                self._gate.wait(), self.fault.seconds if self.fault.kind == "slow" else None
            )
        except TimeoutError:
            return

    def strike(self) -> None:
        """Count one call that suffered."""
        self._struck.set()
        if self.left is not None:
            self.left -= 1


class Faults:
    """The switches of one simulator; false while all are off, which costs a call nothing."""

    def __init__(self, kinds: Mapping[str, Collection[Kind]], *, seed: int = 0) -> None:
        self._kinds = kinds
        self._on: list[Switch] = []
        self._spent: list[Switch] = []
        self._random = random.Random(seed)

    def __bool__(self) -> bool:
        if self._on:
            self._spent += (switch for switch in self._on if not switch.is_on)
            self._on = [switch for switch in self._on if switch.is_on]
        return bool(self._on)

    def switch_on(self, fault: Fault, *, now: int = 0) -> Switch:
        """Make something go wrong from now on.

        Raises ValueError for a fault that could never strike, so a typing error proves nothing.
        """
        operations = self._kinds if fault.operation == EVERY_OPERATION else (fault.operation,)
        if not any(fault.kind in self._kinds.get(operation, ()) for operation in operations):
            raise ValueError(
                f"{fault.kind} cannot happen to {fault.operation}; operations are"
                f" {', '.join(self._kinds)} and {EVERY_OPERATION}"
            )
        if fault.after_effect and fault.kind not in HTTP:
            raise ValueError(f"{fault.kind} has no after_effect")
        if fault.kind == "slow" and fault.seconds is None:
            raise ValueError("slow needs seconds")
        switch = Switch(fault, since=now)
        self._on.append(switch)
        return switch

    def switch_off(self, operation: str | None = None) -> None:
        """Switch off all faults, or those of one operation, and let go on what they hold."""
        for switch in (*self._on, *self._spent):
            if operation in (None, switch.fault.operation):
                switch.off()

    def strikes(
        self,
        operation: str,
        kinds: Collection[Kind],
        *,
        subjects: Collection[str] = (),
        after_effect: bool = False,
    ) -> Iterator[Switch]:
        """Yield the switches that strike this call, in the order they were switched on.

        Each is counted when it is yielded: who stops after an ending leaves the rest to the next
        call.
        """
        for switch in tuple(self._on):
            fault = switch.fault
            if (
                switch.is_on
                and fault.operation in (operation, EVERY_OPERATION)
                and fault.kind in kinds
                and fault.kind in self._kinds[operation]
                and fault.after_effect == after_effect
                and fault.subject in (None, *subjects)
                and (fault.probability >= 1 or self._random.random() < fault.probability)
            ):
                switch.strike()
                yield switch
