"""DPoP (RFC 9449): tokens bound to a key, proven anew for each call, on both sides of the chain."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from proxy.errors import ConfigurationError
from proxy.oauth2.dpop import Dpop
from proxy.oauth2.tokens import TokenRefused
from proxy.outbound.responses import Call
from proxy.security.private_keys import SigningKey
from tests.oauth2.chain import BASIC, SIGNED, Chain, OpenChain
from tests.oauth2.possession import Possession
from tests.support.manual_clock import ManualClock
from tests.support.systems import always, drop

KEY = ECKey.generate_key("P-256")
STRANGER = ECKey.generate_key("P-256")
HOUR = 3_600_000
MINUTES = 60_000


def proofs(key: Key = KEY, algorithm: str = "ES256") -> Dpop:
    return Dpop(lambda: SigningKey(key, algorithm), ManualClock())


@dataclass
class Bound:
    """A chain whose authorization server and API both want proofs, each with its own nonce."""

    chain: Chain
    issuing: Possession = field(default_factory=Possession)
    api: Possession = field(default_factory=Possession)

    def __post_init__(self) -> None:
        self.chain.server.says["token_type"] = "DPoP"
        self.chain.issuing.respond = self.issue
        self.chain.api.respond = self.serve

    async def issue(self, request: web.Request) -> web.StreamResponse:
        if error := self.issuing.error(request):
            return web.json_response({"error": error}, status=400, headers=self.issuing.headers)
        answer = await self.chain.server(request)
        answer.headers.update(self.issuing.headers)
        return answer

    async def serve(self, request: web.Request) -> web.StreamResponse:
        kind, _, token = request.headers["Authorization"].partition(" ")
        error = self.api.error(request, token) if kind == "DPoP" else "invalid_token"
        if token in self.chain.revoked:
            error = error or "invalid_token"
        said = {"WWW-Authenticate": f'Bearer, DPoP algs="ES256", error="{error}"'} if error else {}
        return web.Response(status=401 if error else 200, headers=self.api.headers | said)

    async def token(self) -> str:
        """Call the API, and return the token that it took."""
        answer = await self.chain.call()
        assert answer.status == 200, answer.headers
        return self.chain.api.calls[-1].headers["Authorization"].removeprefix("DPoP ")

    @property
    def calls(self) -> tuple[int, int]:
        return len(self.chain.issuing.calls), len(self.chain.api.calls)


@pytest.fixture
async def bound(opened: OpenChain) -> AsyncIterator[Bound]:
    async with opened(dpop=proofs()) as chain:
        yield Bound(chain)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (KEY, "ES256"),
        (RSAKey.generate_key(2048), "RS256"),
        (OKPKey.generate_key("Ed25519"), "EdDSA"),
    ],
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
async def test_each_call_has_a_proof_of_its_own(
    opened: OpenChain, key: Key, algorithm: str
) -> None:
    """Method, address without its query, token, time and a fresh id; both servers look."""
    async with opened(dpop=proofs(key, algorithm)) as chain:
        bound = Bound(chain)
        url = f"{chain.api.origin}/ticket/a%2Fb?q=1"
        for method in ("GET", "POST"):
            answer = await chain.http.send(Call(method, url), repeatable=False)
            assert answer.status == 200
        assert bound.calls == (1, 2)
        seen = [*bound.issuing.seen, *bound.api.seen]
        assert len({claims["jti"] for claims in seen}) == 3
        assert [claims["htu"] for claims in bound.api.seen] == [url.partition("?")[0]] * 2
        assert "ath" not in seen[0]


@pytest.mark.parametrize("authentication", [BASIC, SIGNED])
async def test_a_nonce_is_kept_for_each_origin_and_costs_one_request(
    opened: OpenChain, authentication: Any
) -> None:
    """An assertion is made anew: the server takes each jti once, refused request or not."""
    async with opened(authentication, dpop=proofs()) as chain:
        bound = Bound(chain)
        bound.issuing.nonce, bound.api.nonce = "of-the-issuer", "of-the-api"
        assert await bound.token() == "token-1"
        assert bound.calls == (2, 2)
        for _ in range(3):
            await bound.token()
        assert bound.calls == (2, 5)
        bound.api.nonce = "another"
        await bound.token()
        assert bound.calls == (2, 7)


@pytest.mark.parametrize("where", ["issuing", "api"])
async def test_a_nonce_of_a_good_answer_is_used_next(bound: Bound, where: str) -> None:
    """RFC 9449 8.2: so its turn costs no refused request at all."""
    bound.chain.server.says["expires_in"] = 0
    server, serve = getattr(bound, where), bound.issue if where == "issuing" else bound.serve

    async def rotate(request: web.Request) -> web.StreamResponse:
        answer = await serve(request)
        server.nonce = f"nonce-{len(server.seen)}"
        answer.headers.update(server.headers)
        return answer

    getattr(bound.chain, where).respond = rotate
    for _ in range(3):
        await bound.token()
    assert bound.calls == (3, 3)
    assert [claims.get("nonce") for claims in server.seen] == [None, "nonce-1", "nonce-2"]


async def test_a_server_that_always_wants_another_nonce_is_not_hammered(bound: Bound) -> None:
    wanted = iter(f"nonce-{number}" for number in range(100))

    async def respond(_request: web.Request) -> web.StreamResponse:
        nonce = {"DPoP-Nonce": next(wanted)}
        return web.json_response({"error": "use_dpop_nonce"}, status=400, headers=nonce)

    bound.chain.issuing.respond = respond
    with pytest.raises(ConfigurationError, match="use_dpop_nonce"):
        await bound.chain.call()
    assert bound.calls == (2, 0)


@pytest.mark.parametrize("nonce", [None, "", 'not"allowed', "x" * 2_000])
async def test_without_a_usable_nonce_there_is_no_second_try(
    bound: Bound, nonce: str | None
) -> None:
    said = {} if nonce is None else {"DPoP-Nonce": nonce}
    body = b'{"error": "use_dpop_nonce"}'
    bound.chain.issuing.respond = always(400, body=body, headers=said)
    with pytest.raises(ConfigurationError, match="sends none"):
        await bound.chain.call()
    assert bound.calls == (1, 0)


@pytest.mark.parametrize("where", ["issuing", "api"])
@pytest.mark.parametrize("skew", [-5 * MINUTES, 5 * MINUTES])
async def test_a_wrong_clock_costs_one_request(bound: Bound, where: str, skew: int) -> None:
    """The answer's `Date` tells, as it does for assertions."""
    getattr(bound, where).clock.advance(skew)
    for _ in range(3):
        assert await bound.token() == "token-1"
    assert bound.calls == ((2, 3) if where == "issuing" else (1, 4))


async def test_a_proof_that_is_refused_for_another_reason_is_told(opened: OpenChain) -> None:
    """A key whose tokens are bound to another: one new token is tried, and no more."""
    async with opened(dpop=proofs()) as chain:
        bound = Bound(chain)
        await bound.token()
        bound.api.thumbprints.update({f"token-{n}": STRANGER.thumbprint() for n in range(9)})
        assert (await chain.call()).status == 401
        assert bound.calls == (2, 3)


async def test_a_refused_token_is_replaced_once_whatever_proof_it_came_with(bound: Bound) -> None:
    await bound.token()
    bound.chain.revoked.add("token-1")
    bound.api.nonce = "wanted-now"
    assert await bound.token() == "token-2"
    assert bound.calls == (2, 4), "refused for the nonce, then for the token, then taken"


async def test_a_lost_answer_is_asked_again_with_another_proof(bound: Bound) -> None:
    """A call that may be repeated is; the API takes no proof twice."""
    await bound.token()
    lost: list[Callable[[web.Request], Any]] = [drop]

    async def respond(request: web.Request) -> web.StreamResponse:
        answer = await bound.serve(request)
        return await lost.pop()(request) if lost else answer

    bound.chain.api.respond = respond
    assert await bound.token() == "token-1"
    assert bound.calls == (1, 3)


@pytest.mark.parametrize(("dpop", "given"), [(proofs(), "Bearer"), (None, "DPoP")])
async def test_a_token_of_the_other_type_is_not_used(
    opened: OpenChain, dpop: Dpop | None, given: str
) -> None:
    async with opened(dpop=dpop) as chain:
        chain.server.says["token_type"] = given
        with pytest.raises(ConfigurationError, match="dpop_key"):
            await chain.call()
        assert chain.api.calls == []


async def test_without_a_proof_there_is_no_token(opened: OpenChain) -> None:
    """The negative control of the server."""
    async with opened() as chain:
        Bound(chain)
        with pytest.raises(TokenRefused) as caught:
            await chain.source._fetch()
        assert caught.value.code == "invalid_dpop_proof"


async def test_a_replaced_key_gets_new_tokens_by_itself(opened: OpenChain) -> None:
    """Its file is read for each proof: the token of the old key is refused once, and replaced."""
    live = [KEY]
    dpop = Dpop(lambda: SigningKey(live[0], "ES256"), ManualClock())
    async with opened(dpop=dpop) as chain:
        bound = Bound(chain)
        assert await bound.token() == "token-1"
        live[0] = STRANGER
        bound.issuing.thumbprints.clear()
        assert await bound.token() == "token-2"
        assert bound.calls == (2, 3)
        assert dpop.thumbprint == STRANGER.thumbprint()


def test_a_proof_shows_no_private_key() -> None:
    dpop = proofs()
    shown = f"{dpop!r}{dpop.header('GET', 'https://desk.example.com/')!r}"
    assert str(KEY.as_dict(private=True)["d"]) not in shown
