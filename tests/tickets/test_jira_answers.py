"""What answers of a Jira site mean: approvals as tables, and answers that are none."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from aiohttp import web

from proxy.errors import TemporaryError
from proxy.outbound.client import Outbound
from proxy.tickets.jira.approvals import verdict
from proxy.tickets.jira.declaration import Approvals
from proxy.tickets.jira.system import Jira
from proxy.tickets.kinds import open_system
from proxy.tickets.port import FetchesMany, ListsChanges, TicketSystem
from tests.support.adapter_benches import REQUEST
from tests.support.declarations import approval_request
from tests.support.systems import serving, towards

Act = Callable[[TicketSystem], Awaitable[Any]]


def approvals(*words: str) -> list[Mapping[str, Any]]:
    """Return approvals with these final decisions, the oldest first."""
    return [
        {"id": str(number), "finalDecision": word, "createdDate": {"epochMillis": number}}
        for number, word in enumerate(words)
    ]


@pytest.mark.parametrize(
    ("rule", "words", "said"),
    [
        ({}, "", "pending"),
        ({}, "pending", "pending"),
        ({}, "approved", "approved"),
        ({}, "declined", "declined"),
        ({}, "approved pending", "pending"),
        ({}, "approved approved", "approved"),
        ({}, "declined approved", "declined"),
        ({}, "declined pending", "declined"),
        ({}, "approved expired", "expired"),  # a word that we do not know is nobody's approval
        ({"steps": 2}, "approved", "pending"),
        ({"steps": 2}, "approved approved", "approved"),
        ({"steps": 2}, "declined", "declined"),
        ({"combine": "any"}, "", "pending"),
        ({"combine": "any"}, "pending approved", "approved"),
        ({"combine": "any"}, "approved declined", "declined"),
        ({"combine": "last"}, "", "pending"),
        ({"combine": "last"}, "declined approved", "approved"),
        ({"combine": "last"}, "approved pending", "pending"),
        ({"combine": "last"}, "expired approved", "approved"),
        ({"combine": "last", "steps": 2}, "approved", "pending"),
    ],
)
def test_approvals_combine(rule: dict[str, Any], words: str, said: str) -> None:
    found = approvals(*words.split())
    assert verdict(found, Approvals(**rule)).word == said
    assert verdict(found[::-1], Approvals(**rule)).word == said  # in whichever order they come


def test_the_newest_of_those_made_at_once_has_the_highest_number() -> None:
    found: list[Mapping[str, Any]] = [
        {"id": "10", "finalDecision": "approved"},
        {"id": "9", "finalDecision": "declined"},
    ]
    assert verdict(found, Approvals(combine="last")).word == "approved"


@pytest.mark.parametrize("strange", [{}, {"finalDecision": None}, {"finalDecision": ["approved"]}])
def test_an_approval_without_a_word_approves_nothing(strange: dict[str, Any]) -> None:
    assert verdict([strange, *approvals("approved")], Approvals()).word == "(none)"


async def _changes(system: TicketSystem) -> object:
    assert isinstance(system, ListsChanges)
    return await system.changes(0)


async def _many(system: TicketSystem) -> object:
    assert isinstance(system, FetchesMany)
    return await system.fetch_many(["10001", "10002"])


ACTS: Mapping[str, Act] = {
    "open": lambda system: system.open(approval_request()),
    "find": lambda system: system.find("r-1"),
    "fetch": lambda system: system.fetch("10001"),
    "changes": _changes,
    "many": _many,
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize(
    "answer",
    ["[]", "{}", "null", "7", '{"issues": 1}', '{"issues": [1]}', '{"id": "x"}', "<html>", ""],
)
async def test_an_answer_that_is_none_is_no_absence_and_leaves_a_create_in_doubt(
    act: str, answer: str
) -> None:
    async def respond(_: web.Request) -> web.StreamResponse:
        return web.Response(text=answer, content_type="application/json")

    async with serving(respond) as site, Outbound(loopback=True) as outbound:
        system = jira(outbound, site.origin, "cloud")
        with pytest.raises(TemporaryError) as caught:
            await ACTS[act](system)
        assert caught.value.maybe_sent


async def test_a_key_of_two_lines_gives_way_to_the_id() -> None:
    async def respond(_: web.Request) -> web.StreamResponse:
        return web.json_response({"issueId": "10001", "issueKey": "A-1\nA-2"})

    async with serving(respond) as site, Outbound(loopback=True) as outbound:
        ticket = await jira(outbound, site.origin, "cloud").open(approval_request())
    assert (ticket.id, ticket.key) == ("10001", "10001")


async def test_a_search_that_never_ends_is_no_answer() -> None:
    """A page with a token again and again, or a total that is never reached."""
    pages = 0

    async def respond(request: web.Request) -> web.StreamResponse:
        nonlocal pages
        pages += 1
        more = {"total": 10**9} if "api/2" in request.path else {"nextPageToken": "again"}
        return web.json_response({"issues": [{"id": "1"}], **more})

    async with serving(respond) as site, Outbound(loopback=True) as outbound:
        for deployment in ("cloud", "data_center"):
            with pytest.raises(TemporaryError, match="has more than 200 issues"):
                await jira(outbound, site.origin, deployment).find("r-1")
    assert pages == 400


async def test_an_empty_page_is_no_end() -> None:
    """On Cloud more may follow; in a data center the total says that there is more."""
    pages = iter(
        (
            {"issues": [], "nextPageToken": "more"},
            {"issues": [], "isLast": True},
            {"issues": [], "total": 7},
            {"issues": [], "total": 0},
        )
    )

    async def respond(_: web.Request) -> web.StreamResponse:
        return web.json_response(next(pages))

    async with serving(respond) as site, Outbound(loopback=True) as outbound:
        assert await jira(outbound, site.origin, "cloud").find("r-1") == []
        far = jira(outbound, site.origin, "data_center")
        with pytest.raises(TemporaryError, match="0 of 7 issues"):
            await far.find("r-1")
        assert await far.find("r-1") == []
    assert not list(pages)


async def test_all_calls_of_a_create_have_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent later could be looked for before it is there; each call may take longer."""
    monkeypatch.setattr(Jira, "deadline", 300)
    asked: list[str] = []
    gone = asyncio.Event()

    async def respond(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if request.path.endswith("/user/search"):
            return web.json_response([])
        await gone.wait()
        return web.Response()

    async with serving(respond) as site, Outbound(loopback=True) as outbound:
        system = jira(outbound, site.origin, "cloud", on_behalf_of_requester=True)
        with pytest.raises(TemporaryError, match="took longer than 300 ms together") as caught:
            await system.open(approval_request(requester_email="ada@company.com"))
        assert caught.value.maybe_sent
        assert asked[-1].endswith("/request")
        gone.set()


def jira(outbound: Outbound, origin: str, deployment: str, **declared: Any) -> TicketSystem:
    declaration = {
        "kind": "jira",
        "base_url": origin,
        "deployment": deployment,
        "request": REQUEST,
        "correlation_field": "labels",
        **declared,
    }
    return open_system(name="jira", declaration=declaration, http=towards(outbound, origin))
