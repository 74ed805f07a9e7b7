"""The `rest` adapter before servers that answer what the simulated desk never would."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from proxy.domain.models import Fulfilment, Outcome
from proxy.errors import (
    ConfigurationError,
    NotFoundError,
    PermanentError,
    ProxyError,
    TemporaryError,
)
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential
from proxy.tickets.kinds import open_system
from proxy.tickets.port import Comments, TicketSystem
from tests.support.declarations import approval_request, declaration, desk_mapping
from tests.support.systems import System, always, serving

TICKET = {"id": 7, "key": "DESK-7", "url": "/t/7", "status": "approved", "correlation_id": "r-1"}


@asynccontextmanager
async def desk(
    answer: Any = None, status: int = 200, **changes: Any
) -> AsyncIterator[tuple[TicketSystem, System]]:
    """Run a server that always answers this, and open the system before it."""
    async with (
        serving(always(status, body=orjson.dumps(answer))) as server,
        Outbound(loopback=True) as outbound,
    ):
        http = outbound.destination(
            "desk",
            origins=[server.origin],
            deadline=5_000,
            concurrency=1,
            credential=NoCredential(),
        )
        declared = declaration(**({"base_url": server.origin} | changes))
        yield (
            open_system(
                name="desk",
                declaration=declared.model_dump(mode="json"),
                http=http,
                event_secrets=lambda: [b"s"],
            ),
            server,
        )


async def fetched(shown: Any, **changes: Any) -> Any:
    async with desk({"ticket": shown}, **changes) as (system, _):
        return await system.fetch("7")


async def test_a_create_sends_the_rendered_tree_and_the_idempotency_key() -> None:
    async with desk({"ticket": TICKET}, 201) as (system, server):
        await system.open(approval_request(motivation='say "hi"\r\n{{ 7 * 7 }}\x00'))
    (call,) = server.calls
    assert (call.method, call.path) == ("POST", "/api/tickets")
    assert call.headers["Idempotency-Key"] == "r-1"
    assert call.headers["Content-Type"] == "application/json"
    assert orjson.loads(call.body) == {
        "title": "Access to sales.orders for user:ada, user:bob",
        "description": 'say "hi"\n{{ 7 * 7 }}',
        "correlation_id": "r-1",
    }


@pytest.mark.parametrize("ticket_id", ["a/b?c#d", "../../admin", "a%2Fb", "ä +;=&", "a\\b"])
async def test_an_odd_id_arrives_as_one_encoded_segment(ticket_id: str) -> None:
    async with desk({"ticket": TICKET | {"id": ticket_id}}) as (system, server):
        assert (await system.fetch(ticket_id)).id == ticket_id
    assert server.calls[0].path.count("/") == 3
    assert "?" not in server.calls[0].path


async def test_an_id_that_is_none_leaves_a_create_in_doubt_and_a_key_gives_way_to_the_id() -> None:
    """Two lines would be two entries of the store's index."""
    async with desk({"ticket": TICKET | {"id": "7\n8"}}, 201) as (system, _):
        with pytest.raises(TemporaryError, match="a ticket without an id"):
            await system.open(approval_request())
    assert (await fetched(TICKET | {"key": "DESK-7\nDESK-8"})).key == "7"
    create = desk_mapping()["create"] | {"location": "/api/tickets/{id}"}
    async with desk({}, 201, create=create) as (system, server):
        server.respond = always(201, headers={"Location": "/api/tickets/7%0A8"})
        with pytest.raises(TemporaryError, match="no such Location"):
            await system.open(approval_request())


async def test_long_titles_are_cut_before_they_are_sent() -> None:
    async with desk({"ticket": TICKET}, 201) as (system, server):
        await system.open(approval_request(resource="x" * 200))
    title = orjson.loads(server.calls[0].body)["title"]
    assert len(title) == 120
    assert title.endswith(" [...]")


@pytest.mark.parametrize(
    ("answer", "status"),
    [({}, 201), ({"ticket": {"id": None}}, 201), ([], 200), ({"ticket": TICKET}, 206), ("ok", 200)],
)
async def test_a_success_that_cannot_be_understood_leaves_a_create_in_doubt(
    answer: Any, status: int
) -> None:
    async with desk(answer, status) as (system, server):
        with pytest.raises(TemporaryError, match="the call may have had its effect") as caught:
            await system.open(approval_request())
    assert caught.value.maybe_sent
    assert len(server.calls) == 1


async def test_a_body_that_is_no_json_leaves_a_create_in_doubt() -> None:
    async with desk() as (system, server):
        server.respond = always(200, text="<html>")
        with pytest.raises(TemporaryError, match="not JSON") as caught:
            await system.open(approval_request())
    assert caught.value.maybe_sent


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFoundError), (422, PermanentError), (302, PermanentError)]
)
async def test_a_refused_create_is_permanent_and_names_the_path(
    status: int, kind: type[ProxyError]
) -> None:
    async with desk({"error": {"message": "no"}}, status) as (system, _):
        with pytest.raises(kind, match="/api/tickets"):
            await system.open(approval_request())


async def test_a_request_that_fits_no_template_is_never_sent() -> None:
    body = desk_mapping()["create"]["body"] | {"cost": "{{ fields.price }}"}
    create = desk_mapping()["create"] | {"body": body}
    async with desk(create=create) as (system, server):
        with pytest.raises(PermanentError, match=r"desk: create\.body\.cost .* 'price'"):
            await system.open(approval_request())
    assert server.calls == []


async def test_tickets_of_others_are_left_out_of_a_look_up() -> None:
    others = [TICKET | {"id": n, "correlation_id": f"r-{n}"} for n in (10, 11)]
    async with desk({"tickets": [others[0], TICKET, others[1]]}) as (system, server):
        assert [ticket.id for ticket in await system.find("r-1")] == ["7"]
    assert server.calls[0].path == "/api/tickets?correlation_id=r-1"


async def test_a_look_up_that_only_found_others_proves_nothing() -> None:
    async with desk({"tickets": [TICKET]}) as (system, _):
        with pytest.raises(ConfigurationError, match="correct the filter") as caught:
            await system.find("r-2")
        assert caught.value.request_specific
        with pytest.raises(ConfigurationError):
            await system.ping()


@pytest.mark.parametrize("answer", [{}, {"tickets": None}, {"tickets": {"r-1": TICKET}}, "none"])
async def test_an_answer_without_a_list_is_no_proof_of_absence(answer: Any) -> None:
    async with desk(answer) as (system, _):
        with pytest.raises(TemporaryError, match=r"find\.tickets"):
            await system.find("r-1")


async def test_found_tickets_come_oldest_first_and_equally_old_ones_by_number() -> None:
    tickets = [
        TICKET | {"id": ticket_id, "created": created}
        for ticket_id, created in ((10, "2026-01-02"), (9, "2026-01-02"), (11, "2026-01-01"))
    ]
    async with desk({"tickets": tickets}) as (system, _):
        assert [ticket.id for ticket in await system.find("r-1")] == ["11", "9", "10"]


async def test_the_correlation_id_may_be_one_of_several_labels() -> None:
    find = desk_mapping()["find"] | {"match": "labels"}
    async with desk({"tickets": [TICKET | {"labels": ["x", "r-1"]}]}, find=find) as (system, _):
        assert len(await system.find("r-1")) == 1
        with pytest.raises(ConfigurationError):
            await system.find("r")


@pytest.mark.parametrize("answer", [{}, {"ticket": None}, {"ticket": {}}, {"ticket": []}])
async def test_an_answer_without_a_ticket_means_that_it_is_not_shown(answer: Any) -> None:
    async with desk(answer) as (system, _):
        with pytest.raises(NotFoundError):
            await system.fetch("7")


async def test_another_ticket_than_the_one_asked_for_is_never_read() -> None:
    async with desk({"ticket": TICKET}) as (system, _):
        assert (await system.fetch("DESK-7")).id == "7"
        with pytest.raises(NotFoundError, match="with another ticket"):
            await system.fetch("8")


@pytest.mark.parametrize(
    ("native", "outcome"),
    [
        ("approved", Outcome.APPROVED),
        ("Approved", None),
        ("approved ", Outcome.APPROVED),
        ("", None),
        (None, None),
        (1, None),
        ({"name": "approved"}, None),
        ("pending approval", None),
    ],
)
async def test_only_a_mapped_status_has_an_outcome(native: Any, outcome: Outcome | None) -> None:
    assert (await fetched(TICKET | {"status": native})).outcome is outcome


async def test_status_case_can_be_ignored_and_numbers_and_words_be_mapped() -> None:
    ticket = await fetched(TICKET | {"status": "APPROVED"}, status_case="ignore")
    assert ticket.outcome is Outcome.APPROVED
    assert (await fetched(TICKET | {"status": 2}, decision={2: "rejected"})).outcome is (
        Outcome.REJECTED
    )
    assert (await fetched(TICKET | {"status": True}, decision={"true": "approved"})).outcome is (
        Outcome.APPROVED
    )


async def test_fulfilment_has_a_map_of_its_own_and_may_have_a_place_of_its_own() -> None:
    assert (await fetched(TICKET)).fulfilment is Fulfilment.WAITING
    place = desk_mapping()["ticket"] | {"fulfilment": "access"}
    ticket = await fetched(TICKET | {"access": "done"}, ticket=place)
    assert (ticket.outcome, ticket.fulfilment) == (Outcome.APPROVED, Fulfilment.FULFILLED)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("https://desk.example.com/t/7", "https://desk.example.com/t/7"),
        ("javascript:alert(1)", ""),
        ("http://[", ""),
        (None, ""),
        (["x"], ""),
    ],
)
async def test_a_ticket_links_to_web_pages_only(written: Any, shown: str) -> None:
    assert (await fetched(TICKET | {"url": written})).url == shown


async def test_an_expression_that_meets_the_wrong_type_finds_nothing() -> None:
    place = desk_mapping()["ticket"] | {"key": "join('-', key)"}
    assert (await fetched(TICKET | {"key": ["DESK", "7"]}, ticket=place)).key == "DESK-7"
    assert (await fetched(TICKET, ticket=place)).key == "7"


async def test_a_relative_link_is_completed_and_missing_texts_are_empty() -> None:
    ticket = await fetched(TICKET | {"decided_by": {"name": "olga"}, "decision_comment": "a\x00b"})
    assert ticket.url.endswith("/t/7")
    assert ticket.url.startswith("http://127.0.0.1")
    assert (ticket.decided_by, ticket.decided_at, ticket.comment) == ("", "", "ab")


async def test_a_declared_ping_is_what_is_called() -> None:
    async with desk(ping={"path": "/api/me", "method": "HEAD"}) as (system, server):
        await system.ping()
    assert [(call.method, call.path) for call in server.calls] == [("HEAD", "/api/me")]


async def test_a_system_without_a_look_up_says_so() -> None:
    async with desk(find=None, ping={"path": "/me"}) as (system, _):
        with pytest.raises(ConfigurationError, match="has no find"):
            await system.find("r-1")


async def test_a_comment_is_sent_once_and_answered_with_any_success() -> None:
    async with desk(status=204) as (system, server):
        assert isinstance(system, Comments)
        await system.comment("7", 'He said "yes"')
    (call,) = server.calls
    assert call.path == "/api/tickets/7/comments"
    assert orjson.loads(call.body) == {"text": 'He said "yes"'}


async def test_a_frozen_declaration_cannot_carry_the_credential_to_another_origin() -> None:
    async with desk(base_url="http://127.0.0.1:1") as (system, server):
        with pytest.raises(ConfigurationError, match="outside the origins"):
            await system.fetch("7")
    assert server.calls == []
