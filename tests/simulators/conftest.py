"""A desk, a witboost and somebody who talks to them."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from proxy.simulators.desk.server import Desk
from proxy.simulators.witboost import Witboost
from tests.support.demo_program import CLIENT, EVENT_SECRET, Listener, Program, TestClock


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with Listener() as listener:
        yield listener


@pytest.fixture
async def desk(clock: TestClock) -> AsyncIterator[Desk]:
    async with Desk(
        client_id=CLIENT[0], client_secret=CLIENT[1], event_secret=EVENT_SECRET, clock=clock
    ) as desk:
        yield desk


@pytest.fixture
async def program(desk: Desk, http: aiohttp.ClientSession) -> Program:
    program = Program(desk.url, http)
    await program.fetch_token()
    return program


@pytest.fixture
async def witboost(clock: TestClock, listener: Listener) -> AsyncIterator[Witboost]:
    async with Witboost(hook_url=listener.url, api_key="hook-key", clock=clock) as witboost:
        yield witboost
