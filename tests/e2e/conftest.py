"""The servers that tests share, and our client before them."""

from collections.abc import AsyncIterator, Iterator

import pytest

from proxy.outbound.client import Outbound
from tests.e2e.asking import Asking, Stage
from tests.e2e.npm import node_program
from tests.e2e.oidc_clients import make_clients
from tests.e2e.oidc_provider import running
from tests.support.certificates import Authority


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One server for the whole run of this process."""
    program = node_program("oidc_provider.mjs")
    folder = tmp_path_factory.mktemp("oidc")
    authority = Authority.found(folder)
    clients = make_clients(folder, authority)
    registered = [client.registration() for client in clients.values()]
    with running(program, authority, authority.server(folder), registered) as provider:
        yield Stage(provider, clients)


@pytest.fixture
async def asking(stage: Stage) -> AsyncIterator[Asking]:
    async with Outbound(loopback=True, dice=lambda: 0.0) as outbound:
        yield Asking(stage, outbound)
