from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from proxy.domain.models import Outcome
from proxy.errors import ConfigurationError
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential
from proxy.tickets.kinds import open_system
from proxy.tickets.port import Cancels, Comments, PushesEvents, TicketSystem
from proxy.tickets.rest.declaration import RestDeclaration
from tests.support.declarations import declaration, desk_mapping


def test_a_frozen_declaration_is_read_back_as_the_same() -> None:
    declared = declaration(cancel=None, ping={"path": "/api/me"})
    frozen = orjson.dumps(declared.model_dump(mode="json"))
    assert RestDeclaration.model_validate(orjson.loads(frozen)) == declared


def test_defaults_are_the_documented_ones() -> None:
    declared = declaration()
    assert (declared.deadline, declared.settle, declared.concurrency) == (10_000, 1_000, 16)
    assert declared.create.method == "POST"
    assert declared.events is not None
    assert declared.events.tolerance == 300_000


def test_the_origin_is_that_of_base_url_without_its_path() -> None:
    declared = declaration(base_url="https://api.example.com:8443/ex/jira/77/")
    assert declared.base_url == "https://api.example.com:8443/ex/jira/77"
    assert declared.origin == "https://api.example.com:8443"


def test_numbers_are_taken_as_texts_where_texts_belong() -> None:
    find = {**desk_mapping()["find"], "query": {"id": "{{ correlation_id }}", "limit": 10}}
    declared = declaration(decision={0: "pending", 1: "approved"}, find=find)
    assert declared.decision == {"0": Outcome.PENDING, "1": Outcome.APPROVED}
    assert declared.find is not None
    assert declared.find.query["limit"] == "10"


def changed(part: str, **changes: Any) -> dict[str, Any]:
    return {part: desk_mapping()[part] | changes}


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"colour": "red"}, "colour", "Extra inputs"),
        (changed("create", bdoy={}), "create.bdoy", "Extra inputs"),
        (changed("create", path="https://evil.example.com/"), "create", "path must begin with"),
        (changed("create", path="/{{ a"), "create", "path is not a template"),
        (changed("create", success=[404]), "create.success.0", "less than or equal to 299"),
        (changed("create", success=[]), "create.success", "at least 1"),
        (changed("create", ticket="a["), "create.ticket", "is not a JMESPath expression"),
        (changed("create", headers={"Authorization": "x"}), "create.headers", "credential sets it"),
        (changed("create", headers={"a b": "x"}), "create.headers.a b.[key]", "not a header name"),
        (changed("create", body={"{{ verb }}": "x"}), "create", "a template for a key"),
        (changed("read", body={"a": 1}), "read", "a GET carries no body"),
        (changed("read", path="/t/{{ ticket.key }}"), "read", "mentions 'key'"),
        (changed("comment", body="{{ reason }}"), "comment", "mentions 'reason'"),
        (changed("find", query={"id": "1"}), "", "find does not mention correlation_id"),
        (changed("find", query={"n": True}), "find.query.n", "put it in quotes"),
        (
            changed("create", body={"title": "x"}, headers={}),
            "",
            "does not write the correlation id",
        ),
        (
            changed("create", body={"title": "{{ correlation_id }}"}, headers={}),
            "",
            "only where limits may cut it",
        ),
        ({"limits": {"titel": 100}}, "", "did you mean 'title'"),
        ({"limits": {"title": 3}}, "limits.title", "greater than or equal to 16"),
        ({"find": None}, "", "ping is required without find"),
        ({"decision": {}}, "decision", "at least 1"),
        ({"decision": {True: "approved"}}, "decision.1.[key]", "put it in quotes"),
        ({"decision": {"ok": "granted"}}, "decision.ok", "'pending', 'approved'"),
        (
            {"decision": {"Done": "approved", "done": "pending"}, "status_case": "ignore"},
            "",
            "has a status twice",
        ),
        ({"base_url": "ftp://x"}, "base_url", "must be an http or https URL"),
        ({"base_url": "https://u:p@x"}, "base_url", "must hold no credential"),
        ({"base_url": "https://x/?a=b"}, "base_url", "must hold no credential"),
        ({"deadline": 10}, "deadline", "has no unit"),
        ({"deadline": "0"}, "deadline", "greater than 0"),
        (changed("events", signed="{timestamp}"), "events", "signed lacks {body}"),
        (changed("events", signed="{body}{nonce}"), "events", "{nonce}, which is not known"),
        (changed("events", signed="{body}"), "events", "need each other"),
        (changed("events", signed="{id}{timestamp}{body}", id_header=None), "events", "id_header"),
        (changed("events", auth="basic"), "events", "need auth: hmac, not basic"),
        (changed("events", ticket=["a", "b["]), "events.ticket", "is not a JMESPath"),
    ],
)
def test_each_slip_is_refused_where_it_was_made(
    changes: dict[str, Any], place: str, words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        declaration(**changes)
    found = [
        (".".join(str(part) for part in error["loc"]), error["msg"])
        for error in caught.value.errors()
    ]
    assert any(where.startswith(place) and words in message for where, message in found), found


def test_all_templates_of_a_call_are_reported_at_once() -> None:
    body = {"title": "{{ titel }}", "text": ["{{ x | nope }}"]}
    with pytest.raises(ValidationError) as caught:
        declaration(**changed("create", body=body))
    assert "body.title mentions 'titel'" in str(caught.value)
    assert "body.text.0 is not a template: No filter named 'nope'" in str(caught.value)


async def opened(**changes: Any) -> TicketSystem:
    async with Outbound(loopback=True) as outbound:
        http = outbound.destination(
            "desk",
            origins=["http://127.0.0.1:1"],
            deadline=2_000,
            concurrency=1,
            credential=NoCredential(),
        )
        frozen = declaration(**changes).model_dump(mode="json")
        return open_system(name="desk", declaration=frozen, http=http, event_secrets=lambda: [b"s"])


async def test_a_system_has_exactly_the_capabilities_that_are_declared() -> None:
    everything = await opened()
    for part, capability in (("events", PushesEvents), ("cancel", Cancels), ("comment", Comments)):
        without = await opened(**{part: None})
        assert [isinstance(one, capability) for one in (everything, without)] == [True, False]


async def test_a_system_tells_its_name_and_its_times() -> None:
    system = await opened(find=None, ping={"path": "/me"}, idempotent=True)
    assert (system.name, system.deadline, system.settle) == ("desk", 2_000, 1_000)
    assert (system.finds, system.idempotent) == (False, True)
    assert (await opened()).finds


@pytest.mark.parametrize(
    ("frozen", "words"),
    [({"kind": "fax"}, "kind 'fax' is not known: use rest"), ({"kind": "rest"}, "base_url")],
)
async def test_a_declaration_that_cannot_be_used_is_a_matter_of_configuration(
    frozen: dict[str, Any], words: str
) -> None:
    async with Outbound(loopback=True) as outbound:
        http = outbound.destination(
            "desk", origins=[], deadline=1, concurrency=1, credential=NoCredential()
        )
        with pytest.raises(ConfigurationError, match=words):
            open_system(name="desk", declaration=frozen, http=http)
        with pytest.raises(ConfigurationError, match="events has no secret"):
            open_system(name="desk", declaration=desk_mapping(), http=http)
