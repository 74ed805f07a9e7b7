"""What the `rest` adapter writes beside a plain create: forms, follow-ups, changes in order."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from aiohttp import web

from proxy.errors import ConflictError, PermanentError, TemporaryError
from proxy.tickets.port import Cancels, Comments
from tests.support.declarations import approval_request, declaration
from tests.support.rest_adapter import open_rest_adapter, ticket
from tests.support.systems import System

CREATE = {
    "path": "/tickets",
    "body": {"for": "{{ correlation_id }}"},
    "location": "/tickets/{id}/view",
}


def made(location: str | None, body: bytes = b"") -> Callable[[web.Request], Any]:
    """Return a server that answers a create with a Location, and shows ticket 7."""

    def answering(request: web.Request) -> Any:
        if request.method == "POST":
            headers = {"Location": location} if location else {}
            return web.Response(status=201, headers=headers, body=body)
        return {"ticket": ticket("7")}

    return answering


@pytest.mark.parametrize("location", ["/v2/tickets/7/view", "tickets/7/view", "{}/tickets/7/view"])
async def test_the_id_is_in_the_location_of_a_create(location: str) -> None:
    async with open_rest_adapter(made(None), create=CREATE) as (system, server):
        server.respond = responding(made(location.format(f"{server.origin}/v2")))
        opened = await system.open(approval_request())
    assert (opened.id, opened.key) == ("7", "DESK-7")
    assert [call.method for call in server.calls] == ["POST", "GET"]


def responding(answering: Callable[[web.Request], Any]) -> Any:
    async def respond(request: web.Request) -> web.StreamResponse:
        found = answering(request)
        if isinstance(found, web.StreamResponse):
            return found
        return web.json_response(found)

    return respond


async def test_a_ticket_that_cannot_be_read_at_once_is_known_all_the_same() -> None:
    def answering(request: web.Request) -> Any:
        if request.method == "POST":
            return web.Response(status=201, headers={"Location": "/v2/tickets/a%2Fb/view"})
        return web.Response(status=503)

    async with open_rest_adapter(answering, create=CREATE) as (system, _):
        opened = await system.open(approval_request())
    assert (opened.id, opened.key) == ("a/b", "a/b")


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "/v2/tickets/7",
        "/v2/tickets//view",
        "/v2/tickets/7/8/view",
        "/tickets/7/view",
        "https://evil.example.com/v2/tickets/7/view",
        "//[",
    ],
)
async def test_another_location_leaves_the_create_in_doubt(location: str | None) -> None:
    async with open_rest_adapter(made(location), create=CREATE) as (system, _):
        with pytest.raises(TemporaryError, match="no such Location") as caught:
            await system.open(approval_request())
        assert caught.value.maybe_sent


async def test_a_form_is_written_as_one() -> None:
    body = {"title": "{{ motivation }}", "who": "{{ identities }}", "n": 3, "none": None}
    create = {"path": "/t", "encoding": "form", "body": body | {"c": "{{ correlation_id }}"}}
    async with open_rest_adapter(
        lambda _: {"ticket": ticket()}, create={**create, "ticket": "ticket"}
    ) as (
        system,
        server,
    ):
        await system.open(approval_request(motivation="a&b=c\r\n+é"))
    (call,) = server.calls
    assert call.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert call.body == (b"title=a%26b%3Dc%0A%2B%C3%A9&who=user%3Aada&who=user%3Abob&n=3&c=r-1")


async def test_a_query_of_one_expression_is_left_out_or_repeated() -> None:
    create = {
        "path": "/t",
        "query": {"who": "{{ identities }}", "none": "{{ fields.nothing or none }}", "a": "x"},
        "body": {"c": "{{ correlation_id }}"},
    }
    async with open_rest_adapter(lambda _: ticket(), create=create) as (system, server):
        await system.open(approval_request(fields={"nothing": ""}))
    assert server.calls[0].path == "/v2/t?who=user:ada&who=user:bob&a=x"


ASK = {
    "path": "/tickets/{{ ticket.id }}/approvals",
    "body": {"approver": "{{ ticket.fields.owner }}", "for": "{{ correlation_id }}"},
    "unless": {"path": "/tickets/{{ ticket.id }}/approvals", "found": "approvals[0]"},
}
TAG = {"method": "PUT", "path": "/tickets/{{ ticket.key }}/tags", "body": {"tags": ["proxy"]}}


class FollowedDesk:
    """A desk with approvals to ask for; what is `lost` fails once, before or after its effect."""

    def __init__(self, lost: str = "", *, after: bool = True) -> None:
        self.lost, self.after = lost, after
        self.tickets = 0
        self.asked: list[Any] = []
        self.tagged = 0

    def __call__(self, request: web.Request) -> Any:
        what = f"{request.method} {request.path.rpartition('/')[2]}"
        if what == self.lost and not self.after:
            self.lost = ""
            return web.Response(status=503)
        answer = self._answer(what)
        if what == self.lost:
            self.lost = ""
            return web.Response(status=503)
        return answer

    def _answer(self, what: str) -> Any:
        shown = ticket(owner="olga")
        match what:
            case "POST tickets":
                self.tickets += 1
            case "GET tickets":
                return {"tickets": [shown] if self.tickets else []}
            case "GET approvals":
                return {"approvals": self.asked}
            case "POST approvals":
                self.asked.append({"by": "olga"})
            case "PUT tags":
                self.tagged += 1
            case _:
                pass
        return {"ticket": shown}


def followed(desk: FollowedDesk) -> Any:
    create = {"path": "/tickets", "body": {"c": "{{ correlation_id }}"}, "ticket": "ticket"}
    find = {"path": "/tickets", "query": {"c": "{{ correlation_id }}"}, "tickets": "tickets"}
    return open_rest_adapter(
        desk,
        create=create,
        find={**find, "match": "correlation_id"},
        follow_ups=[ASK, TAG],
    )


async def test_what_belongs_to_a_ticket_is_done_when_it_is_opened() -> None:
    desk = FollowedDesk()
    async with followed(desk) as (system, server):
        await system.open(approval_request())
    assert [(call.method, call.path) for call in server.calls] == [
        ("POST", "/v2/tickets"),
        ("POST", "/v2/tickets/7/approvals"),
        ("PUT", "/v2/tickets/DESK-7/tags"),
    ]
    assert orjson.loads(server.calls[1].body) == {"approver": "olga", "for": "r-1"}


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("lost", ["POST tickets", "POST approvals", "PUT tags"])
async def test_a_lost_call_is_made_up_for_once_the_ticket_is_found(lost: str, after: bool) -> None:  # noqa: FBT001
    """Whatever is lost: in doubt, never a second ticket, and all that belongs to it once."""
    desk = FollowedDesk(lost, after=after)
    async with followed(desk) as (system, _):
        with pytest.raises(TemporaryError) as caught:
            await system.open(approval_request())
        assert caught.value.maybe_sent
        found = await system.find("r-1")
        if not found:
            await system.open(approval_request())
        await system.find("r-1")
    assert desk.tickets == 1
    assert len(desk.asked) == 1
    assert desk.tagged >= 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500])
async def test_a_refused_follow_up_leaves_no_doubt_that_there_is_a_ticket(status: int) -> None:
    """A refusal must not read as "no ticket was made", or a second one would be."""

    def answering(request: web.Request) -> Any:
        if request.path.endswith("/approvals"):
            return web.Response(status=status)
        return {"ticket": ticket(owner="o")}

    async with open_rest_adapter(answering, follow_ups=[ASK]) as (system, _):
        with pytest.raises(TemporaryError, match="ticket DESK-7 was created, but") as caught:
            await system.open(approval_request())
        assert caught.value.maybe_sent


async def test_an_idempotent_create_may_have_been_followed_up_before() -> None:
    desk = FollowedDesk()
    create = {"path": "/tickets", "body": {"c": "{{ correlation_id }}"}, "ticket": "ticket"}
    declared = {"create": create, "find": None, "ping": {"path": "/"}, "idempotent": True}
    async with open_rest_adapter(desk, follow_ups=[ASK], **declared) as (system, _):
        await system.open(approval_request())
        await system.open(approval_request())
    assert len(desk.asked) == 1


CANCEL = {"method": "PUT", "path": "/tickets/{{ ticket.id }}", "body": {"why": "{{ reason }}"}}


class VersionedDesk:
    """A desk whose ticket is changed by somebody else as often as a test says."""

    def __init__(self, others: int = 0, status: str = "new", then: str = "new") -> None:
        self.version, self.others, self.then = 1, others, then
        self.status = status
        self.changed: list[Any] = []

    def __call__(self, request: web.Request) -> Any:
        if request.method == "GET":
            headers = {"ETag": f'"{self.version}"'}
            shown = ticket(status=self.status, version=self.version)
            if self.others:  # right after we read
                self.others, self.version, self.status = (
                    self.others - 1,
                    self.version + 1,
                    self.then,
                )
            return web.json_response({"ticket": shown}, headers=headers)
        sent = request.headers.get("If-Match", "")
        if sent and sent != f'"{self.version}"':
            return web.Response(status=412)
        self.changed.append(sent)
        return {}


def calls_of(server: System) -> list[str]:
    return [call.method for call in server.calls]


async def test_a_ticket_is_changed_only_as_it_was_read() -> None:
    desk = VersionedDesk(others=1)
    async with open_rest_adapter(desk, cancel={**CANCEL, "if_match": True}) as (system, server):
        assert isinstance(system, Cancels)
        await system.cancel("7", "no longer needed")
    assert desk.changed == ['"2"']
    assert calls_of(server) == ["GET", "PUT", "GET", "PUT"]


async def test_a_ticket_that_is_decided_meanwhile_is_not_cancelled() -> None:
    """Without If-Match the approval that came in between would be overwritten."""
    desk = VersionedDesk(others=1, then="approved")
    async with open_rest_adapter(desk, cancel={**CANCEL, "if_match": True}) as (system, _):
        assert isinstance(system, Cancels)
        with pytest.raises(ConflictError, match="approved already"):
            await system.cancel("7", "too late")
    assert desk.changed == []
    desk = VersionedDesk(others=1, then="approved")
    async with open_rest_adapter(desk, cancel=CANCEL) as (system, _):  # the negative control
        assert isinstance(system, Cancels)
        await system.cancel("7", "too late")
    assert desk.changed == [""]


async def test_a_ticket_that_others_change_all_the_time_is_tried_later() -> None:
    async with open_rest_adapter(VersionedDesk(others=99), cancel={**CANCEL, "if_match": True}) as (
        system,
        _,
    ):
        assert isinstance(system, Cancels)
        with pytest.raises(TemporaryError, match="changed by others") as caught:
            await system.cancel("7", "please")
        assert not caught.value.maybe_sent


async def test_a_version_in_the_ticket_goes_into_the_body() -> None:
    body = {"stamp": "{{ ticket.version }}", "text": "{{ text }}"}
    comment = {"path": "/tickets/{{ ticket.id }}/c", "body": body, "version": "version"}
    async with open_rest_adapter(VersionedDesk(), comment=comment) as (system, server):
        assert isinstance(system, Comments)
        await system.comment("7", "hello")
    assert orjson.loads(server.calls[-1].body) == {"stamp": 1, "text": "hello"}


@pytest.mark.parametrize("how", [{"if_match": True}, {"version": "no.such"}])
async def test_a_ticket_without_a_version_is_not_changed(how: dict[str, Any]) -> None:
    async with open_rest_adapter(lambda _: {"ticket": ticket()}, cancel={**CANCEL, **how}) as (
        system,
        server,
    ):
        assert isinstance(system, Cancels)
        with pytest.raises(TemporaryError, match=r"ETag|without a version"):
            await system.cancel("7", "please")
    assert calls_of(server) == ["GET"]


async def test_another_refusal_is_what_it_is() -> None:
    def answering(request: web.Request) -> Any:
        if request.method == "GET":
            return web.json_response({"ticket": ticket()}, headers={"ETag": '"1"'})
        return web.Response(status=422)

    async with open_rest_adapter(answering, cancel={**CANCEL, "if_match": True}) as (system, _):
        assert isinstance(system, Cancels)
        with pytest.raises(PermanentError):
            await system.cancel("7", "please")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"create": {**CREATE, "location": "/tickets/"}}, r"\{id\} in place of the id"),
        ({"create": {**CREATE, "location": "tickets/{id}"}}, "must be a path"),
        ({"create": {**CREATE, "encoding": "form", "body": {"a": {"b": 1}}}}, "not a tree"),
        ({"create": {**CREATE, "encoding": "form", "body": "text"}}, "not a tree"),
        ({"follow_ups": [{"path": "/x", "body": {}}]}, "may have its effect twice"),
        ({"follow_ups": [{**TAG, "body": {"a": "{{ motivation }}"}}]}, "mentions 'motivation'"),
        ({"follow_ups": [{**ASK, "unless": {"path": "/{{ tikcet.id }}", "found": "@"}}]}, "unless"),
        ({"follow_ups": [TAG], "find": None, "ping": {"path": "/"}}, "follow_ups need find"),
    ],
)
def test_calls_that_cannot_work_are_refused(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        declaration(**changed)
