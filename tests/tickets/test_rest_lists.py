"""Lists of the `rest` adapter: to their end over every style of pages, or an error."""

from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web

from proxy.errors import ProxyError, TemporaryError
from proxy.tickets.declaring.timestamps import TimestampFormat
from proxy.tickets.port import FetchesMany, ListsChanges
from proxy.tickets.rest.client import MOST_PAGES, next_link
from proxy.tickets.rest.lists import Pages
from tests.support.declarations import declaration
from tests.support.rest_adapter import Responder, open_rest_adapter, ticket

T0 = 1_767_261_600_000  # 2026-01-01T10:00:00Z
SIZE = 3


def entry(number: int) -> dict[str, Any]:
    """Return a change, each a second older than the one before it."""
    return {"id": number, "changed": f"2026-01-01T10:{59 - number // 60:02}:{59 - number % 60:02}Z"}


def changes(**pages: Any) -> dict[str, Any]:
    return {
        "path": "/changes",
        "query": {"since": "{{ since }}"},
        "tickets": "items",
        "updated": "changed",
        "pages": pages or None,
    }


class Pager:
    """A server that gives three entries a page, in each style."""

    def __init__(self, entries: Sequence[Any]) -> None:
        self.entries = entries

    def __call__(self, request: web.Request) -> Any:
        query = request.query
        at = int(query.get("offset") or query.get("at") or 0)
        if "page" in query:
            at = (int(query["page"]) - 1) * SIZE
        if "after" in query:
            at = next(n for n, it in enumerate(self.entries) if str(it["id"]) == query["after"]) + 1
        page = self.entries[at : at + SIZE]
        body: dict[str, Any] = {"items": page}
        headers = {}
        if at + SIZE < len(self.entries):
            following = f"/v2/changes?at={at + SIZE}"
            body |= {"next": at + SIZE, "following": following, "more": True}
            headers = {"Link": f'<{following}>; rel="next", </v2/changes>; rel="first"'}
        return web.json_response(body, headers=headers)


STYLES: Sequence[dict[str, Any]] = (
    {"style": "offset", "parameter": "offset"},
    {"style": "offset", "parameter": "offset", "more": "more"},
    {"style": "page", "parameter": "page"},
    {"style": "cursor", "parameter": "after", "next": "id"},
    {"style": "next_token", "parameter": "at", "next": "next"},
    {"style": "link_header"},
    {"style": "body_url", "next": "following"},
)


@pytest.mark.parametrize("style", STYLES, ids="-".join)
@pytest.mark.parametrize("count", [0, 2, 3, 7])
async def test_every_style_reads_to_the_end(style: dict[str, Any], count: int) -> None:
    entries = [entry(number) for number in range(count)]
    async with open_rest_adapter(Pager(entries), changes=changes(**style)) as (system, server):
        assert isinstance(system, ListsChanges)
        found = await system.changes(T0)
    assert set(found) == {str(number) for number in range(count)}
    if style.get("more") or style["style"] in {"next_token", "link_header", "body_url"}:
        assert len(server.calls) == max(1, -(-count // SIZE))


async def test_without_pages_one_answer_is_the_list() -> None:
    async with open_rest_adapter(Pager([entry(0), entry(1)]), changes=changes()) as (
        system,
        server,
    ):
        assert isinstance(system, ListsChanges)
        assert await system.changes(T0 + 1_500) == {"0": T0 + 3_599_000, "1": T0 + 3_598_000}
    assert [call.path for call in server.calls] == ["/v2/changes?since=2026-01-01T10:00:01Z"]


@pytest.mark.parametrize("style", [STYLES[0], STYLES[2]], ids=["offset", "page"])
async def test_counted_pages_stop_at_what_is_older_than_wanted(style: dict[str, Any]) -> None:
    """A system that cannot filter by time is asked for the newest first, and no further."""
    entries = [entry(number) for number in range(30)]
    async with open_rest_adapter(Pager(entries), changes=changes(**style)) as (system, server):
        assert isinstance(system, ListsChanges)
        found = await system.changes(T0 + 3_599_000 - 4_000)
    assert {str(number) for number in range(5)} <= set(found)
    assert len(server.calls) == 2


async def test_a_counted_list_must_have_the_newest_first() -> None:
    """Else a ticket that changes meanwhile takes another past the edge of a page."""
    entries = [entry(1), entry(0)]
    async with open_rest_adapter(Pager(entries), changes=changes(**STYLES[0])) as (system, _):
        assert isinstance(system, ListsChanges)
        with pytest.raises(TemporaryError, match="newest first"):
            await system.changes(T0)


async def test_changes_meanwhile_hide_nothing_and_are_no_error() -> None:
    """They come first and push the others down: what is shown twice is shown twice."""
    entries = [entry(number) for number in range(10, 16)]
    pages = Pager(entries)

    def busy(request: web.Request) -> Any:
        answer = pages(request)
        newer = len(pages.entries)
        pages.entries = [entry(16 - newer), entry(17 - newer), *pages.entries][:12]
        return answer

    async with open_rest_adapter(busy, changes=changes(**STYLES[0])) as (system, _):
        assert isinstance(system, ListsChanges)
        assert {str(it["id"]) for it in entries} <= set(await system.changes(T0))


UNREADABLE: Sequence[tuple[str, Responder, dict[str, Any]]] = (
    ("no list", lambda _: {"items": None}, changes()),
    ("no list", lambda _: [], changes()),
    ("not JSON", lambda _: web.Response(text="<html>"), changes()),
    ("without id or time", lambda _: {"items": [{"id": 1, "changed": "yesterday"}]}, changes()),
    ("without id or time", lambda _: {"items": [{"changed": entry(0)["changed"]}]}, changes()),
    ("same page again", lambda _: {"items": [entry(0)]}, changes(**STYLES[0])),
    (
        "a next page elsewhere",
        lambda _: {"items": [], "following": "https://evil.example.com/v2/x"},
        changes(**STYLES[6]),
    ),
    ("a next page elsewhere", lambda _: {"items": [], "following": "/admin"}, changes(**STYLES[6])),
    ("a next page elsewhere", lambda _: {"items": [], "following": "//["}, changes(**STYLES[6])),
)


@pytest.mark.parametrize(("what", "answering", "declared"), UNREADABLE)
async def test_what_cannot_be_read_is_never_no_change(
    what: str, answering: Responder, declared: dict[str, Any]
) -> None:
    async with open_rest_adapter(answering, changes=declared) as (system, _):
        assert isinstance(system, ListsChanges)
        with pytest.raises(TemporaryError, match=what):
            await system.changes(T0)


async def test_a_list_without_end_is_an_error() -> None:
    def endless(request: web.Request) -> Any:
        at = int(request.query.get("at", 0))
        return {"items": [{"id": at, "changed": entry(0)["changed"]}], "next": at + 1}

    async with open_rest_adapter(endless, changes=changes(**STYLES[4])) as (system, server):
        assert isinstance(system, ListsChanges)
        with pytest.raises(TemporaryError, match=f"more than {MOST_PAGES} pages"):
            await system.changes(T0)
    assert len(server.calls) == MOST_PAGES


async def test_many_tickets_are_read_in_one_call() -> None:
    shown = [ticket("1"), ticket("2", status="approved"), ticket("99")]
    many = {"path": "/many", "query": {"ids": "{{ ids | join(',') }}"}, "tickets": "t", "most": 50}
    async with open_rest_adapter(lambda _: {"t": shown}, read_many=many) as (system, server):
        assert isinstance(system, FetchesMany)
        assert system.most_fetched == 50
        found = await system.fetch_many(["1", "2", "3", "1,99", "a b", "DESK-1"])
    assert server.calls[0].path == "/v2/many?ids=1,2,3,DESK-1"
    assert {ref: it.native_status for ref, it in found.items()} == {
        "1": "new",
        "2": "approved",
        "DESK-1": "new",
    }


async def test_a_key_is_never_taken_for_the_id_of_another_ticket() -> None:
    shown = [ticket("1", status="approved"), ticket("2", key="1"), ticket("3", key="2")]
    many = {"path": "/many", "query": {"ids": "{{ ids }}"}}
    async with open_rest_adapter(lambda _: shown, read_many=many) as (system, _):
        assert isinstance(system, FetchesMany)
        found = await system.fetch_many(["1", "2"])
    assert {ref: it.id for ref, it in found.items()} == {"1": "1", "2": "2"}


@pytest.mark.parametrize(
    ("call", "path", "body"),
    [
        ({"query": {"id[]": "{{ ids }}"}}, "/v2/many?id%5B%5D=1&id%5B%5D=2", b""),
        ({"method": "POST", "body": {"ids": "{{ ids }}"}}, "/v2/many", b'{"ids":["1","2"]}'),
        (
            {"method": "POST", "encoding": "form", "body": {"id": "{{ ids }}"}},
            "/v2/many",
            b"id=1&id=2",
        ),
    ],
)
async def test_ids_go_where_the_system_wants_them(
    call: dict[str, Any], path: str, body: bytes
) -> None:
    many = {"path": "/many", **call}
    async with open_rest_adapter(lambda _: [], read_many=many) as (system, server):
        assert isinstance(system, FetchesMany)
        assert await system.fetch_many(["1", "2"]) == {}
    assert (server.calls[0].path, server.calls[0].body) == (path, body)


async def test_a_token_of_a_search_goes_into_its_body() -> None:
    declared = changes(**STYLES[4]) | {"method": "POST", "query": {}, "body": {"q": "{{ since }}"}}
    answers = iter([{"items": [entry(0)], "next": "abc"}, {"items": []}])
    async with open_rest_adapter(lambda _: next(answers), changes=declared) as (system, server):
        assert isinstance(system, ListsChanges)
        await system.changes(T0)
    bodies = [call.body for call in server.calls]
    assert bodies[0] == b'{"q":"2026-01-01T10:00:00Z"}'
    assert bodies[1] == b'{"q":"2026-01-01T10:00:00Z","at":"abc"}'


@pytest.mark.parametrize(
    ("header", "url"),
    [
        ('<https://a/?x=1,2>; rel="next"', "https://a/?x=1,2"),
        ('<a>; rel="prev", <b>; title="x, y"; rel="next last"', "b"),
        ("<b>; rel=next", "b"),
        ("<b>; REL=Next", "b"),
        ('<b>; rel="nextish"', ""),
        ("b; rel=next", ""),
        ("", ""),
    ],
)
def test_the_next_link_is_read_as_rfc_8288_writes_it(header: str, url: str) -> None:
    assert next_link({"Link": header}) == url


@pytest.mark.parametrize(
    ("how", "written"),
    [
        ({}, "2026-01-01T10:00:00Z"),
        ({"format": "seconds"}, 1_767_261_600),
        ({"format": "milliseconds"}, 1_767_261_600_999),
        ({"format": "%Y-%m-%d %H:%M:%S"}, "2026-01-01 10:00:00"),
        ({"format": "%Y-%m-%d %H:%M", "zone": "Europe/Rome"}, "2026-01-01 11:00"),
        ({"format": "%Y-%m-%d.%H:%M:%S", "zone": "America/New_York"}, "2026-01-01.05:00:00"),
    ],
)
def test_moments_are_written_never_later_than_they_are(how: dict[str, str], written: Any) -> None:
    moments = TimestampFormat(**how)
    assert moments.write(T0 + 999) == written
    read = moments.read(written)
    assert read is not None
    assert T0 <= read <= T0 + 999


@pytest.mark.parametrize("minutes", range(0, 240, 15))
def test_the_hour_that_comes_twice_hides_nothing(minutes: int) -> None:
    """In Rome clocks go back at 01:00 UTC on 25 October 2026: 02:30 is said twice."""
    moments = TimestampFormat(format="%Y-%m-%d %H:%M", zone="Europe/Rome")
    moment = 1_792_886_400_000 + minutes * 60_000
    back = moments.read(moments.write(moment))
    assert back is not None
    assert moment - 3_600_000 <= back <= moment


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-01-01T11:00:00+01:00", T0),
        ("2026-01-01T10:00:00.250Z", T0 + 250),
        ("2026-01-01T10:00:00", T0),
        ("soon", None),
        (None, None),
        (True, None),
        ({}, None),
    ],
)
def test_what_is_no_time_is_not_guessed(value: Any, moment: int | None) -> None:
    assert TimestampFormat().read(value) == moment


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"changes": changes() | {"query": {}}}, "does not mention since"),
        ({"read_many": {"path": "/many"}}, "does not mention ids"),
        ({"changes": changes() | {"time": {"zone": "Mars/Base"}}}, "not a time zone"),
        ({"changes": changes() | {"time": {"format": "%"}}}, "must be rfc3339"),
        ({"changes": changes() | {"overlap": "10ms"}}, "overlap"),
        ({"changes": changes(style="offset")}, "style offset needs parameter"),
        ({"changes": changes(style="link_header", parameter="p")}, "has no use for parameter"),
        ({"changes": changes(style="cursor", parameter="p")}, "style cursor needs next"),
        ({"changes": changes(style="page", parameter="p", next="x")}, "has no use for next"),
        ({"changes": changes(**STYLES[5]) | {"method": "POST", "body": {}}}, "not with a POST"),
    ],
)
def test_a_list_that_cannot_work_is_refused(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        declaration(**changed)


def test_counted_pages_need_no_filter() -> None:
    assert declaration(changes=changes(style="page", parameter="p") | {"query": {}}).changes
    assert Pages(style="page", parameter="p").counted


async def test_a_refused_list_says_what_to_do() -> None:
    async with open_rest_adapter(lambda _: web.Response(status=403), changes=changes()) as (
        system,
        _,
    ):
        assert isinstance(system, ListsChanges)
        with pytest.raises(ProxyError, match="permissions"):
            await system.changes(T0)
