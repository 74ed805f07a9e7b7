"""Servers for tests of OAuth2, and the one session that reaches them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.oauth2.client_authentication import ClientAuthentication
from proxy.outbound.client import Outbound
from tests.oauth2.chain import BASIC, KEY, SECRET, Chain, OpenChain, open_chain
from tests.oauth2.strict_server import StrictServer
from tests.support.manual_clock import ManualClock
from tests.support.systems import System, serving


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with Outbound(loopback=True, dice=lambda: 0.0) as outbound:
        yield outbound


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with serving() as system:
        yield system


@pytest.fixture
def opened(clock: ManualClock) -> OpenChain:
    @asynccontextmanager
    async def start(*authentications: ClientAuthentication, **how: Any) -> AsyncIterator[Chain]:
        server = StrictServer(secrets=[SECRET], keys=[KEY], says={"expires_in": 3_600})
        async with open_chain(server, clock, *authentications or (BASIC,), **how) as chain:
            yield chain

    return start


@pytest.fixture
async def chain(opened: OpenChain) -> AsyncIterator[Chain]:
    async with opened() as chain:
        yield chain
