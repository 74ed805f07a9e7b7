"""What a call to another system ends with, in the words that an operator reads, and how often it
is made: failure by failure."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port

from proxy.errors import ConfigurationError, PermanentError, ProxyError, TemporaryError
from proxy.outbound.client import EgressProxy, Outbound
from proxy.outbound.credentials import StaticHeader
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call
from tests.outbound.test_http1 import FINE, ByHand
from tests.support.systems import Responder, System, always, drop, fine, in_turn, serving, towards


@dataclass
class Observed:
    """How each send ended."""

    outcomes: list[str] = field(default_factory=list)

    def __call__(self, name: str, outcome: str, seconds: float) -> None:
        assert name == "desk"
        assert 0 <= seconds < 60
        self.outcomes.append(outcome)


@dataclass
class Proofs:
    """Numbered proofs: some cannot be made, one never comes, and the first answers want another."""

    fails: ProxyError | None = None
    never: int | None = None
    asks: int = 0
    given: int = 0
    dropped: list[str] = field(default_factory=list)

    async def headers(self, url: str, method: str = "") -> Mapping[str, str]:
        assert url.partition("?")[0].endswith("/x")
        assert method == "POST"
        self.given += 1
        if self.fails:
            raise self.fails
        if self.given == self.never:
            raise TimeoutError  # as the deadline does, where it passes here
        return {"Authorization": f"Proof number-{self.given}"}

    def on_response(self, url: str, status: int, headers: Mapping[str, str]) -> bool:
        assert url.endswith("/x")
        assert status in {200, 401}
        assert "Date" in headers
        self.asks -= 1
        return self.asks >= 0

    def invalidate(self, headers: Mapping[str, str]) -> bool:
        self.dropped.append(headers["Authorization"])
        return len(self.dropped) == 1


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with serving() as system:
        yield system


@pytest.fixture
def observed() -> Observed:
    return Observed()


@pytest.fixture
async def outbound(observed: Observed) -> AsyncIterator[Outbound]:
    async with Outbound(loopback=True, observe=observed, dice=lambda: 0.0) as outbound:
        yield outbound


async def failure(
    desk: Destination, url: str, *, repeatable: bool = False, method: str = "POST"
) -> ProxyError:
    """Send, and return the error: where it was sent must be said by a truth value."""
    with pytest.raises(ProxyError) as caught:
        await desk.send(Call(method, url, body=b"{}"), repeatable=repeatable)
    if isinstance(caught.value, TemporaryError):
        assert caught.value.maybe_sent in (True, False)
    return caught.value


# -- before anything is sent ---------------------------------------------------------------------


@pytest.mark.parametrize("odd", ["with space", "caf\u00e9", "tab\tbed", "bell\x07", "line\r\nX: 1"])
async def test_a_url_is_sent_as_it_is_or_not_at_all(
    outbound: Outbound, system: System, observed: Observed, odd: str
) -> None:
    error = await failure(towards(outbound, system.origin), f"{system.origin}/{odd}")
    assert isinstance(error, ConfigurationError)
    assert str(error) == "desk: a URL to call holds invalid characters"
    assert (system.calls, observed.outcomes) == ([], ["refused"])


@pytest.mark.parametrize("user", ["user@", ":canary@", "user:canary@"])
async def test_a_url_with_a_credential_of_its_own_is_outside(
    outbound: Outbound, system: System, observed: Observed, user: str
) -> None:
    url = system.origin.replace("://", f"://{user}")
    error = await failure(towards(outbound, system.origin), f"{url}/x")
    assert isinstance(error, ConfigurationError)
    assert str(error) == (
        f"desk: POST {system.origin}/x is outside the origins and paths configured for this"
        " destination, so nothing was sent"
    )
    assert (system.calls, observed.outcomes) == ([], ["refused"])


@pytest.mark.parametrize("url", ["http://127.0.0.1:port/", "ftp://127.0.0.1:1/", "http:///x", "x"])
async def test_what_is_no_url_of_http_is_not_called(
    outbound: Outbound, observed: Observed, url: str
) -> None:
    error = await failure(towards(outbound, "http://127.0.0.1:1"), url)
    assert isinstance(error, ConfigurationError)
    place = url if "://" in url else "(not a URL)"
    assert str(error) == f"desk: POST {place} is not a valid URL"
    assert observed.outcomes == ["refused"]


async def test_only_what_is_below_one_of_the_paths_is_called(
    outbound: Outbound, system: System
) -> None:
    """A path of one origin opens nothing at another, and a name is the same in capitals."""
    elsewhere = f"http://127.0.0.1:{unused_port()}"
    origin = system.origin.replace("127.0.0.1", "LOCALHOST")
    desk = towards(outbound, f"{origin}/api/", f"{origin}/hooks", f"{elsewhere}/")
    for path in ("/api/tickets", "/hooks", "/hooks/1?x=/"):
        await desk.send(
            Call("GET", f"{system.origin.replace('127.0.0.1', 'LocalHost')}{path}"),
            repeatable=False,
        )
    assert [call.path for call in system.calls] == ["/api/tickets", "/hooks", "/hooks/1?x=/"]
    for path in ("/", "/apis", "/hooksy", "/x/api/"):
        assert "outside the origins" in str(await failure(desk, f"{origin}{path}"))
    assert len(system.calls) == 3
    assert "no connection" in str(await failure(desk, f"{elsewhere}/anything"))


async def test_an_address_that_nobody_may_call_is_told_with_what_would_open_it(
    observed: Observed,
) -> None:
    async with Outbound(observe=observed) as outbound:
        error = await failure(towards(outbound, "http://127.0.0.1:1"), "http://127.0.0.1:1/x?y")
    assert isinstance(error, ConfigurationError)
    assert str(error) == (
        "desk: nothing was sent to http://127.0.0.1:1: 127.0.0.1 is this machine itself;"
        " outbound.loopback: true opens this machine, for demos and tests"
    )
    assert observed.outcomes == ["refused"]


async def test_a_header_that_http_forbids_is_the_calls_own_fault(
    outbound: Outbound, system: System, observed: Observed
) -> None:
    forbidden = StaticHeader("X", lambda: "canary\r\nEvil: 1")
    error = await failure(
        towards(outbound, system.origin, credential=forbidden), f"{system.origin}/x"
    )
    assert isinstance(error, PermanentError)
    says = f"desk: POST {system.origin}/x has a header or method that HTTP forbids"
    assert str(error) == says
    assert observed.outcomes == ["error"]


# -- no answer -----------------------------------------------------------------------------------


async def test_a_connection_that_cannot_be_made_leaves_no_doubt(
    outbound: Outbound, observed: Observed
) -> None:
    origin = f"http://127.0.0.1:{unused_port()}"
    error = await failure(towards(outbound, origin), f"{origin}/x?key=canary")
    assert str(error) == (
        f"desk: POST {origin}/x failed, no connection could be made (ClientConnectorError): check"
        " that the system is up and can be reached from here"
    )
    assert isinstance(error, TemporaryError)
    assert error.maybe_sent is False
    assert observed.outcomes == ["unreachable"]


async def test_an_answer_that_was_lost_leaves_a_doubt(
    outbound: Outbound, system: System, observed: Observed
) -> None:
    system.respond = drop
    error = await failure(towards(outbound, system.origin), f"{system.origin}/x?key=canary")
    says, _, advice = str(error).partition(" (")
    assert says == f"desk: POST {system.origin}/x failed, the answer was lost"
    assert advice.partition("): ")[2] == (
        "check that the system is up and can be reached from here"
    )
    assert isinstance(error, TemporaryError)
    assert error.maybe_sent is True
    assert observed.outcomes == ["lost"]


async def hang(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


@pytest.mark.parametrize(
    ("never", "where"), [(None, "after it was sent"), (1, "before it could be sent")]
)
async def test_a_deadline_says_whether_the_call_was_sent(
    outbound: Outbound, system: System, observed: Observed, never: int | None, where: str
) -> None:
    system.respond = hang
    desk = towards(outbound, system.origin, deadline=1_000, credential=Proofs(never=never))
    error = await failure(desk, f"{system.origin}/x?key=canary")
    assert str(error) == (
        f"desk: POST {system.origin}/x passed its deadline of 1000 ms {where}: check that the"
        " system is up and fast enough, or raise the deadline"
    )
    assert isinstance(error, TemporaryError)
    assert error.maybe_sent is (never is None)
    assert observed.outcomes == ["timeout"]


@asynccontextmanager
async def through(answer: bytes, observed: Observed) -> AsyncIterator[Destination]:
    """Run a proxy that answers by hand, and a destination behind it."""
    system = ByHand(answer)
    server = await asyncio.start_server(system.serve, "127.0.0.1", 0)
    proxy = EgressProxy(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server, Outbound(loopback=True, proxy=proxy, observe=observed) as outbound:
        yield towards(outbound, "https://desk.example")


@pytest.mark.parametrize(
    ("status", "temporary", "advice"),
    [
        (403, False, "have it allow this host, and check its credential"),
        (407, False, "have it allow this host, and check its credential"),
        (499, False, "have it allow this host, and check its credential"),
        (500, True, "it will be tried again"),
        (502, True, "it will be tried again"),
    ],
)
async def test_a_proxy_that_makes_no_tunnel(
    observed: Observed, status: int, *, temporary: bool, advice: str
) -> None:
    """What is behind it does not answer, or it does not let us: nothing was sent in either case."""
    answer = FINE.replace(b"200 OK", b"%d No" % status)
    async with through(answer, observed) as desk:
        error = await failure(desk, "https://desk.example/x?key=canary")
    assert str(error) == (
        f"desk: the proxy of `outbound.proxy` answered {status} for https://desk.example: {advice}"
    )
    assert isinstance(error, TemporaryError if temporary else ConfigurationError)
    assert getattr(error, "maybe_sent", False) is False
    assert observed.outcomes == ["error"]


async def test_an_answer_that_is_too_long_says_what_to_raise(
    outbound: Outbound, system: System, observed: Observed
) -> None:
    system.respond = always(299, body=b"x" * 1_001)
    desk = towards(outbound, system.origin, answer_limit=1_000)
    assert str(await failure(desk, f"{system.origin}/x")) == (
        f"desk: the answer to POST {system.origin}/x is longer than 1000 bytes: raise the limit,"
        " or ask for less"
    )
    assert observed.outcomes == ["error"]


# -- an answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 299, 300, 404, 503])
async def test_an_answer_is_counted_by_its_class_and_quoted_without_our_secrets(
    outbound: Outbound, system: System, observed: Observed, status: int
) -> None:
    """What a success says is used as it is; anything else is only quoted."""
    system.respond = always(status, body=b"you sent canary-token and canary-body")
    scheme = StaticHeader("Authorization", lambda: "Custom 1 canary-token")
    desk = towards(outbound, system.origin, credential=scheme)
    call = Call("POST", f"{system.origin}/x", secrets=("canary-body",))
    answer = await desk.send(call, repeatable=False)
    hidden = status >= 300
    assert answer.body == (
        b"you sent *** and ***" if hidden else b"you sent canary-token and canary-body"
    )
    assert answer.label == f"POST {system.origin}/x"
    assert observed.outcomes == [f"{status // 100}xx"]


# -- how often -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("dice", "pause"), [(0.0, 0.05), (1.0, 0.5)])
async def test_a_call_that_may_be_repeated_is_made_three_times_with_pauses(
    system: System, monkeypatch: pytest.MonkeyPatch, dice: float, pause: float
) -> None:
    pauses, sleep = [], asyncio.sleep

    async def quickly(seconds: float) -> None:
        if seconds:
            pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", quickly)
    async with Outbound(loopback=True, dice=lambda: dice) as outbound:
        desk = towards(outbound, system.origin)
        system.respond = in_turn(drop, drop, fine)
        answer = await desk.send(Call("POST", f"{system.origin}/x"), repeatable=True)
        assert (answer.status, len(system.calls), pauses) == (200, 3, [pause, pause])
        system.respond = drop
        error = await failure(desk, f"{system.origin}/x", repeatable=True)
    assert "the answer was lost" in str(error)
    assert (len(system.calls), pauses) == (6, [pause] * 4)


@pytest.mark.parametrize(
    "failed",
    [TemporaryError("no token now", maybe_sent=False), ConfigurationError("no token at all")],
)
async def test_without_a_credential_nothing_is_sent_and_nothing_repeated(
    outbound: Outbound, system: System, observed: Observed, failed: ProxyError
) -> None:
    """Its own source has repeated already what helps."""
    proofs = Proofs(fails=failed)
    desk = towards(outbound, system.origin, credential=proofs)
    assert await failure(desk, f"{system.origin}/x", repeatable=True) is failed
    assert (proofs.given, system.calls, observed.outcomes) == (1, [], ["error"])


@pytest.mark.parametrize(("asks", "calls"), [(0, 1), (1, 2), (9, 2)])
async def test_an_answer_that_says_what_the_proof_must_hold_is_heard_once(
    outbound: Outbound, system: System, asks: int, calls: int
) -> None:
    """DPoP: a server may want a nonce in every proof (RFC 9449 8)."""
    desk = towards(outbound, system.origin, credential=Proofs(asks=asks))
    await desk.send(Call("POST", f"{system.origin}/x"), repeatable=False)
    sent = [call.headers["Authorization"] for call in system.calls]
    assert sent == [f"Proof number-{number}" for number in range(1, calls + 1)]


async def test_the_token_that_was_refused_is_the_one_that_was_sent_last(
    outbound: Outbound, system: System
) -> None:
    system.respond = always(401)
    proofs = Proofs(asks=1)
    desk = towards(outbound, system.origin, credential=proofs)
    answer = await desk.send(Call("POST", f"{system.origin}/x"), repeatable=False)
    assert (answer.status, len(system.calls)) == (401, 3)
    assert proofs.dropped == ["Proof number-2"]


@pytest.mark.parametrize(
    ("respond", "asks"),
    [(always(401), 0), (fine, 1), (drop, 0)],
    ids=["renewed", "proved again", "repeated"],
)
async def test_a_deadline_while_the_next_proof_is_awaited_is_before_that_call(
    system: System, observed: Observed, respond: Responder, asks: int
) -> None:
    """What was sent before was answered, or may be repeated: it leaves no doubt."""
    system.respond = respond
    async with Outbound(loopback=True, observe=observed, dice=lambda: 0.0) as outbound:
        proofs = Proofs(asks=asks, never=2)
        desk = towards(outbound, system.origin, credential=proofs)
        error = await failure(desk, f"{system.origin}/x", repeatable=True)
    assert "before it could be sent" in str(error)
    assert isinstance(error, TemporaryError)
    assert error.maybe_sent is False
    assert (len(system.calls), observed.outcomes) == (1, ["timeout"])


async def test_a_repeat_that_reaches_nobody_leaves_no_doubt_of_its_own(
    observed: Observed,
) -> None:
    """Each try says for itself how far it came."""
    origin = f"http://127.0.0.1:{unused_port()}"
    async with Outbound(loopback=True, observe=observed, dice=lambda: 0.0) as outbound:
        error = await failure(towards(outbound, origin), f"{origin}/x", repeatable=True)
    assert "no connection could be made" in str(error)
    assert isinstance(error, TemporaryError)
    assert error.maybe_sent is False
    assert observed.outcomes == ["unreachable"]
