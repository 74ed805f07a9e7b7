"""Fault injection for all simulators: the kind of fault, its operation, and how often it occurs."""

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
    """A fault to inject into an operation.

    `times` None means until switched off; `probability` applies to each call; `subject` limits
    the fault to one ticket id, correlation id or hook id. With `after_effect` the operation is
    carried out and only its answer is affected; the fault then applies to successful calls only.
    `seconds` is the length of `slow`, and for `lag` the age at which a ticket becomes visible
    (without it, tickets created after the fault was switched on stay invisible).
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
"""Parses a fault received over HTTP; its ValidationError is a ValueError naming the field."""


class ActiveFault:
    """A fault that is switched on: counts its calls, and delays those that it makes hang."""

    def __init__(self, fault: Fault, *, since: int) -> None:
        self.fault = fault
        self.since = since  # milliseconds since the epoch
        self.left = fault.times
        self._gate = asyncio.Event()
        self._struck = asyncio.Event()

    @property
    def is_active(self) -> bool:
        """True while it can apply to a call."""
        return self.left != 0

    def off(self) -> None:
        """Switch the fault off, and let the calls that hang go on."""
        self.left = 0
        self._gate.set()

    async def triggered(self, *, within: float = 5.0) -> None:
        """Wait until it has affected a call; raises TimeoutError after `within` seconds."""
        await asyncio.wait_for(self._struck.wait(), within)

    async def hold(self) -> None:
        """Delay a call as `slow` and `hang` do: for some seconds, or until switched off."""
        try:
            await asyncio.wait_for(
                self._gate.wait(), self.fault.seconds if self.fault.kind == "slow" else None
            )
        except TimeoutError:
            return

    def count_call(self) -> None:
        """Count one affected call."""
        self._struck.set()
        if self.left is not None:
            self.left -= 1


class Faults:
    """The faults of one simulator; false while all are off, so that calls cost nothing more."""

    def __init__(self, kinds: Mapping[str, Collection[Kind]], *, seed: int = 0) -> None:
        self._kinds = kinds
        self._on: list[ActiveFault] = []
        self._spent: list[ActiveFault] = []
        self._random = random.Random(seed)

    def __bool__(self) -> bool:
        if self._on:
            self._spent += (switch for switch in self._on if not switch.is_active)
            self._on = [switch for switch in self._on if switch.is_active]
        return bool(self._on)

    def switch_on(self, fault: Fault, *, now: int = 0) -> ActiveFault:
        """Switch a fault on.

        Raises ValueError for a fault that could never apply: a typing error in a test would
        otherwise prove nothing.
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
        switch = ActiveFault(fault, since=now)
        self._on.append(switch)
        return switch

    def switch_off(self, operation: str | None = None) -> None:
        """Switch off all faults, or those of one operation, and let the calls that hang go on."""
        for switch in (*self._on, *self._spent):
            if operation in (None, switch.fault.operation):
                switch.off()

    def trigger(
        self,
        operation: str,
        kinds: Collection[Kind],
        *,
        subjects: Collection[str] = (),
        after_effect: bool = False,
    ) -> Iterator[ActiveFault]:
        """Yield the faults that apply to this call, in the order they were switched on.

        Each is counted when it is yielded: a caller that stops early leaves the others to the
        next call.
        """
        for switch in tuple(self._on):
            fault = switch.fault
            if (
                switch.is_active
                and fault.operation in (operation, EVERY_OPERATION)
                and fault.kind in kinds
                and fault.kind in self._kinds[operation]
                and fault.after_effect == after_effect
                and fault.subject in (None, *subjects)
                and (fault.probability >= 1 or self._random.random() < fault.probability)
            ):
                switch.count_call()
                yield switch
