"""Tokens that an API takes, but not as a Bearer: the word before them, from settings to wire."""

from typing import Any

import pytest
from aiohttp import web

from tests.conftest import OpenRig
from tests.support.rig import desk_tree
from tests.support.systems import serving


async def answering(request: web.Request) -> web.StreamResponse:
    """Give a token, and nothing else to whoever does not use it in this way."""
    if request.path == "/token":
        return web.json_response({"access_token": "abc", "token_type": "Bearer", "expires_in": 60})
    return web.json_response({"tickets": []})


@pytest.mark.parametrize("scheme", [None, "AR-JWT", "Zoho-oauthtoken", "token"])
async def test_a_token_is_sent_under_its_scheme(open_rig: OpenRig, scheme: str | None) -> None:
    async with serving(answering) as server:

        def declared(_: str) -> dict[str, Any]:
            tree = desk_tree(server.origin)
            named = {"scheme": scheme} if scheme else {}
            return tree | {"auth": tree["auth"] | {"token_url": f"{server.origin}/token"} | named}

        async with open_rig(declare=declared) as rig:
            await rig.program.systems["desk"].ping()
        asked, called = server.calls
        assert asked.path == "/token"
        assert called.headers["Authorization"] == f"{scheme or 'Bearer'} abc"


async def test_a_refused_token_is_replaced_under_any_scheme(open_rig: OpenRig) -> None:
    given = iter(("old", "new"))

    async def revoking(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            return web.json_response({"access_token": next(given), "token_type": "token"})
        fresh = request.headers["Authorization"] == "token new"
        return web.json_response({"tickets": []}, status=200 if fresh else 401)

    async with serving(revoking) as server:

        def declared(_: str) -> dict[str, Any]:
            tree = desk_tree(server.origin)
            auth = {"token_url": f"{server.origin}/token", "scheme": "token"}
            return tree | {"auth": tree["auth"] | auth}

        async with open_rig(declare=declared) as rig:
            await rig.program.systems["desk"].ping()
        assert [call.path.partition("?")[0] for call in server.calls] == [
            "/token",
            "/api/tickets",
            "/token",
            "/api/tickets",
        ]
