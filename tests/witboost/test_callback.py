from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from proxy.domain.models import Decision, Details, Fulfilment, Record, State
from proxy.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PermanentError,
    TemporaryError,
)
from proxy.net.urls import CallbackPrefix
from proxy.oauth2.token_source import TokenSource
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import Credential
from proxy.simulators.credentials import ServiceAccount
from proxy.simulators.faults import Fault
from proxy.simulators.witboost import Witboost as Simulator
from proxy.witboost.callback import Method, Witboost, callback_body
from proxy.witboost.credentials import AccessTokenExchange
from tests.support.manual_clock import ManualClock
from tests.support.systems import System, always, in_turn, serving, towards

RECORD = Record(
    id="c1",
    state=State.DECIDED,
    instance="prod",
    system="desk",
    route="r",
    client="c",
    content_digest="x",
    admitted_at=0,
    deadline_at=0,
    ticket_id="7",
    ticket_key="ABC-1",
    decision=Decision.APPROVED,
    decided_by="olga",
    decided_at=1_800_000_000_123,
)
TEXTS = Details(reason="canary", ticket_url="https://desk/ABC-1", comment="fine", evidence="canary")
BODY = b'{"status":"OK"}'


def test_a_callback_says_who_decided_what_and_when() -> None:
    assert orjson.loads(callback_body(RECORD, TEXTS)) == {
        "status": "OK",
        "hookInfo": {
            "message": "The request was approved (ticket ABC-1).",
            "ticketKey": "ABC-1",
            "ticketUrl": "https://desk/ABC-1",
            "decision": "approved",
            "decidedBy": "olga",
            "decidedAt": "2027-01-15T08:00:00.123Z",
            "comment": "fine",
            "correlationId": "c1",
        },
    }


def test_the_body_is_the_same_each_time() -> None:
    assert callback_body(RECORD, TEXTS) == callback_body(replace(RECORD, attempt=9), TEXTS)


def test_what_is_absent_is_left_out() -> None:
    record = replace(RECORD, decision=Decision.EXPIRED, ticket_key="", decided_by="", decided_at=0)
    assert orjson.loads(callback_body(record, Details()))["hookInfo"] == {
        "message": "Nobody decided the request in time.",
        "decision": "expired",
        "correlationId": "c1",
    }


@pytest.mark.parametrize("decision", Decision)
@pytest.mark.parametrize("fulfilment", [None, *Fulfilment])
def test_the_status_is_ok_only_for_an_approval_that_did_not_fail(
    decision: Decision, fulfilment: Fulfilment | None
) -> None:
    body = orjson.loads(
        callback_body(replace(RECORD, decision=decision, fulfilment=fulfilment), TEXTS)
    )
    ok = decision is Decision.APPROVED and fulfilment is not Fulfilment.FAILED
    assert body["status"] == ("OK" if ok else "KO")
    assert ("was approved (" in body["hookInfo"]["message"]) == ok
    assert "canary" not in str(body)


def test_a_long_comment_is_cut() -> None:
    body = orjson.loads(callback_body(RECORD, replace(TEXTS, comment="x" * 100_000)))
    assert len(body["hookInfo"]["comment"]) == 4_000


@dataclass
class Memory:
    """Remembers the method in memory, as the store does for all processes."""

    methods: dict[str, str] = field(default_factory=dict)

    async def get_callback_method(self, instance: str) -> str | None:
        return self.methods.get(instance)

    async def set_callback_method(self, instance: str, method: str) -> None:
        self.methods[instance] = method


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with Outbound(loopback=True, dice=lambda: 0.0) as outbound:
        yield outbound


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with serving() as system:
        yield system


@pytest.fixture
def memory() -> Memory:
    return Memory()


def witboost(
    outbound: Outbound,
    origin: str,
    memory: Memory,
    method: Method = "auto",
    credential: Credential | None = None,
) -> Witboost:
    return Witboost(
        name="prod",
        http=towards(outbound, origin, credential=credential, renew_on=frozenset({401, 403})),
        method=method,
        memory=memory,
        prefixes=[CallbackPrefix.parse(f"{origin}/api/actionHandler/")],
    )


def methods(system: System) -> list[str]:
    return [call.method for call in system.calls]


@pytest.mark.parametrize(
    ("statuses", "tried"),
    [
        ([200], ["PUT"]),
        ([404, 200], ["PUT", "PATCH"]),
        ([405, 404, 204], ["PUT", "PATCH", "POST"]),
    ],
)
async def test_the_method_is_probed_once(
    outbound: Outbound, system: System, memory: Memory, statuses: list[int], tried: list[str]
) -> None:
    system.respond = in_turn(*map(always, [*statuses, 200]))
    instance = witboost(outbound, system.origin, memory)
    url = f"{system.origin}/api/actionHandler/1?x=1"
    await instance.call_back(url, BODY)
    assert methods(system) == tried
    assert memory.methods == {"prod": tried[-1]}
    await instance.call_back(url, BODY)
    assert methods(system) == [*tried, tried[-1]]
    assert {call.path for call in system.calls} == {"/api/actionHandler/1?x=1"}
    assert {call.body for call in system.calls} == {BODY}
    assert {call.headers["Content-Type"] for call in system.calls} == {"application/json"}


@pytest.mark.parametrize("statuses", [[404, 404, 404], [405, 405, 405], [404, 405, 404]])
async def test_a_hook_that_accepts_no_method_is_not_found(
    outbound: Outbound, system: System, memory: Memory, statuses: list[int]
) -> None:
    system.respond = in_turn(*map(always, statuses))
    with pytest.raises(NotFoundError, match="/api/actionHandler/1") as caught:
        await witboost(outbound, system.origin, memory).call_back(
            f"{system.origin}/api/actionHandler/1?token=canary", BODY
        )
    assert "canary" not in str(caught.value), "a query may hold a secret"
    assert methods(system) == ["PUT", "PATCH", "POST"]
    assert memory.methods == {}


@pytest.mark.parametrize(
    ("setting", "learned"),
    [("PUT", None), ("PATCH", "PUT"), ("POST", None), ("auto", "PATCH"), ("auto", "POST")],
)
@pytest.mark.parametrize("status", [404, 405])
async def test_a_known_method_is_used_alone(
    outbound: Outbound, system: System, setting: Method, learned: str | None, status: int
) -> None:
    memory = Memory({} if learned is None else {"prod": learned})
    system.respond = always(status)
    with pytest.raises(NotFoundError):
        await witboost(outbound, system.origin, memory, setting).call_back(
            f"{system.origin}/api/actionHandler/1", BODY
        )
    assert methods(system) == [learned if setting == "auto" else setting]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, PermanentError),
        (400, PermanentError),
        (401, ConfigurationError),
        (403, ConfigurationError),
        (409, ConflictError),
        (413, PermanentError),
        (408, TemporaryError),
        (425, TemporaryError),
        (429, TemporaryError),
        (500, TemporaryError),
        (503, TemporaryError),
    ],
)
async def test_no_other_status_leads_to_another_method(
    outbound: Outbound, system: System, memory: Memory, status: int, kind: type[Exception]
) -> None:
    system.respond = always(status, headers={"Location": "/elsewhere"})
    with pytest.raises(kind, match="witboost prod") as caught:
        await witboost(outbound, system.origin, memory).call_back(
            f"{system.origin}/api/actionHandler/1", BODY
        )
    assert type(caught.value) is kind
    assert methods(system) == ["PUT"]
    assert memory.methods == {}


@pytest.mark.parametrize(
    "path",
    ["/api/actionHandlerEvil/1", "/", "/api/actionHandler/../evil", "/api/actionHandler/..%2fx"],
)
async def test_a_url_that_is_no_longer_allowed_gets_nothing(
    outbound: Outbound, system: System, memory: Memory, path: str
) -> None:
    with pytest.raises(ConfigurationError, match="callback prefixes"):
        await witboost(outbound, system.origin, memory).call_back(system.origin + path, BODY)
    assert system.calls == []


@pytest.mark.parametrize("url", ["ftp://x/", "http://user@x/", "http://evil.example/x"])
async def test_a_url_elsewhere_gets_nothing(
    outbound: Outbound, system: System, memory: Memory, url: str
) -> None:
    with pytest.raises(ConfigurationError, match="witboost prod"):
        await witboost(outbound, system.origin, memory).call_back(url, BODY)
    assert system.calls == []


@pytest.mark.parametrize("taken", [["PUT"], ["PATCH"], ["POST"]])
@pytest.mark.parametrize("wrong", [404, 405])
async def test_the_demo_witboost_is_called_back_with_a_fresh_credential(
    outbound: Outbound, memory: Memory, clock: ManualClock, taken: Sequence[str], wrong: Any
) -> None:
    account = ServiceAccount("wbat-secret", clock)
    async with Simulator(
        check=account, clock=clock, methods=taken, wrong_method=wrong, adopt_unknown_hooks=True
    ) as simulator:
        fetch = AccessTokenExchange(
            http=towards(outbound, simulator.url),
            url=simulator.url,
            access_token=lambda: "wbat-secret",
            clock=clock,
        )
        source = TokenSource(fetch=fetch, clock=clock, dice=lambda: 0.5, name="prod")
        instance = witboost(outbound, simulator.url, memory, credential=source)
        url = f"{simulator.url}/api/actionHandler"
        await instance.call_back(f"{url}/1", callback_body(RECORD, TEXTS))
        account.revoke_all()
        await instance.call_back(f"{url}/2", callback_body(RECORD, TEXTS))
        assert account.exchanges == 2
        assert (await simulator.callback("1"))["status"] == "OK"
        assert (await simulator.callback("2"))["status"] == "OK"
        with pytest.raises(ConflictError):
            await instance.call_back(f"{url}/1", callback_body(RECORD, TEXTS))
        account.refuse = True
        account.revoke_all()
        with pytest.raises(ConfigurationError, match="no witboost token"):
            await instance.call_back(f"{url}/3", callback_body(RECORD, TEXTS))
    assert memory.methods == {"prod": taken[0]}


async def test_a_callback_whose_response_is_lost_is_in_doubt_and_not_repeated(
    outbound: Outbound, memory: Memory
) -> None:
    async with Simulator(adopt_unknown_hooks=True) as simulator:
        simulator.switch_on(Fault("callback", "reset", after_effect=True))
        instance = witboost(outbound, simulator.url, memory)
        with pytest.raises(TemporaryError) as caught:
            await instance.call_back(f"{simulator.url}/api/actionHandler/1", BODY)
        assert caught.value.maybe_sent
        assert len(simulator.attempts("1")) == 1
