import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from aiohttp import web

from proxy.app.token_sources import TokenSources
from proxy.errors import SettingsError, TemporaryError
from proxy.outbound.client import Outbound
from proxy.outbound.responses import Call
from proxy.settings import Settings, explain, load
from proxy.settings.oauth2 import OAuth2
from proxy.settings.secrets import MASK
from tests.support.manual_clock import ManualClock
from tests.support.settings_errors import without_places
from tests.support.systems import serving, towards

AUTH: Final = "ticket_systems.desk.auth"
CLIENT: Final = {
    "kind": "oauth2",
    "client_id": "approval-proxy",
    "token_url": "https://login.example.com/token",
}
KEY: Final = {"key": "canary-pem"}
LOGIN: Final = {"grant": "refresh_token"}
ASSERTION: Final = {"grant": "jwt_bearer", "assertion": {"subject": "somebody", "key": KEY}}
EXCHANGE: Final = {"grant": "token_exchange", "exchange": {"subject_token": "canary-held"}}

AUTHENTICATIONS: Final[Mapping[str, dict[str, Any]]] = {
    "client_secret_basic": {"client_secret": "canary"},
    "client_secret_post": {"client_secret": ["canary-new", "canary-old"]},
    "client_secret_jwt": {"client_secret": "canary", "assertion_audience": "issuer"},
    "private_key_jwt": {"client_keys": [KEY, {**KEY, "algorithm": "PS256", "kid": "2"}]},
    "tls_client_auth": {"client_certificate": {"certificate": "{file}", "key": "{file}"}},
    "none": {},
}
GRANTS: Final[Mapping[str, dict[str, Any]]] = {
    "client_credentials": {},
    "refresh_token": {
        **LOGIN,
        "authorization_url": "https://login.example.com/authorize",
        "login": {"redirect_uri": "http://127.0.0.1:8123/done", "repeat_redirect_uri": True},
    },
    "jwt_bearer": ASSERTION,
    "token_exchange": EXCHANGE,
}


def loaded(example: Path, changes: Mapping[str, Any], **environ: str) -> Settings:
    """Load the example with this client in place of its own; `{file}` is one that exists."""
    text = orjson.dumps({**CLIENT, **changes}).decode().replace("{file}", str(example))
    variable = "APPROVAL_PROXY__TICKET_SYSTEMS__DESK__AUTH"
    deeper = {f"{variable}__{name}": value for name, value in environ.items()}
    return load(example, {variable: text, **deeper})


def auth_of(settings: Settings) -> OAuth2:
    auth = settings.ticket_systems["desk"].auth
    assert isinstance(auth, OAuth2)
    return auth


def problems(example: Path, changes: Mapping[str, Any], **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as refusal:
        loaded(example, changes, **environ)
    return without_places(refusal.value.problems)


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("authentication", AUTHENTICATIONS)
def test_every_grant_goes_with_every_authentication_but_one(
    authentication: str, grant: str, example: Path
) -> None:
    wanted = {"client_authentication": authentication} | AUTHENTICATIONS[authentication]
    if (authentication, grant) == ("none", "client_credentials"):
        [problem] = problems(example, wanted)
        assert "client_authentication: none proves nothing" in problem
        return

    auth = auth_of(loaded(example, wanted | GRANTS[grant]))

    assert (auth.client_authentication, auth.grant) == (authentication, grant)


SECRET: Final = {"client_secret": "canary"}
WRONG: Final[Mapping[str, tuple[dict[str, Any], str]]] = {
    "no place to ask": (SECRET | {"token_url": None}, "token_url: give it, or the `issuer`"),
    "basic without a secret": ({}, "client_secret: is needed with client_secret_basic"),
    **{
        f"{name} without a secret": (
            {"client_authentication": name},
            f"client_secret: is needed with {name}",
        )
        for name in ("client_secret_post", "client_secret_jwt")
    },
    "private_key_jwt without a key": (
        {"client_authentication": "private_key_jwt"},
        "client_keys: is needed with private_key_jwt",
    ),
    "tls_client_auth without a certificate": (
        {"client_authentication": "tls_client_auth"},
        "client_certificate: is needed with tls_client_auth",
    ),
    "jwt_bearer without an assertion": (
        SECRET | {"grant": "jwt_bearer"},
        "assertion: is needed with jwt_bearer",
    ),
    "token_exchange without a token": (
        SECRET | {"grant": "token_exchange"},
        "exchange: is needed with token_exchange",
    ),
    "a secret with a key": (
        SECRET | {"client_authentication": "private_key_jwt", "client_keys": [KEY]},
        "client_secret: is of no use with private_key_jwt",
    ),
    "a key with a secret": (
        SECRET | {"client_keys": [KEY]},
        "client_keys: is of no use with client_secret_basic and client_credentials",
    ),
    "an audience without an assertion": (
        SECRET | {"assertion_audience": "issuer"},
        "assertion_audience: is of no use with",
    ),
    "an encoding without basic": (
        SECRET | {"client_authentication": "client_secret_post", "basic_encoding": "raw"},
        "basic_encoding: is of no use with client_secret_post",
    ),
    "an assertion that is not exchanged": (
        SECRET | {"assertion": ASSERTION["assertion"]},
        "assertion: is of no use with",
    ),
    "a token that is not exchanged": (
        SECRET | {"exchange": EXCHANGE["exchange"]},
        "exchange: is of no use with",
    ),
    "a login that nobody needs": (
        SECRET | {"login": {}},
        "login: is of no use with client_secret_basic and client_credentials",
    ),
    "a field twice": (
        SECRET | {"extra": {"client_secret": "other", "audience": "fine, as it is there alone"}},
        "extra: client_secret is in the token request already",
    ),
    "a scope twice": (
        SECRET | {"scope": "a", "extra": {"scope": "b"}},
        "extra: scope is in the token request already",
    ),
    "a place to log in that nobody needs": (
        SECRET | {"authorization_url": "https://login.example.com/authorize"},
        "authorization_url: is of no use with",
    ),
}


def test_a_redirect_uri_that_is_repeated_must_be_known(example: Path) -> None:
    """Without one the port is a free one, another each time, and nobody could repeat it."""
    login = SECRET | {"grant": "refresh_token", "login": {"repeat_redirect_uri": True}}

    [problem] = problems(example, login)

    assert "repeat_redirect_uri: needs redirect_uri" in problem


@pytest.mark.parametrize("case", WRONG)
def test_what_is_missing_or_of_no_use_is_named(case: str, example: Path) -> None:
    changes, expected = WRONG[case]

    [problem] = problems(example, changes)

    assert problem.startswith(f"{AUTH}: ")
    assert expected in problem
    assert "canary" not in problem


def test_everything_that_does_not_fit_is_told_at_once(example: Path) -> None:
    changes: dict[str, Any] = {
        "token_url": None,
        "client_authentication": "private_key_jwt",
        "login": {},
    }

    [problem] = problems(example, SECRET | changes | {"grant": "jwt_bearer"})

    named = [part.partition(":")[0] for part in problem.partition(": ")[2].split("; ")]
    assert {"token_url", "client_keys", "assertion", "client_secret", "login"} <= set(named)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("assertion.lifetime", "61s", "longer than 60s"),
        ("assertion.key.algorithm", "HS256", "must be 'RS256', "),
        ("assertion.key.key", "", "is empty"),
        ("client_authentication", "magic", "must be 'client_secret_basic', "),
        ("grant", "password", "must be 'client_credentials', "),
        ("issuer", "https://u:canary@login.example.com", "not a web address"),
        ("client_certificate", {"certificate": "/not/there", "key": "{file}"}, "not a file"),
    ],
)
def test_a_wrong_value_is_told_with_its_key(
    key: str, value: object, expected: str, example: Path
) -> None:
    changes: dict[str, Any] = orjson.loads(orjson.dumps(SECRET | ASSERTION))
    inner = changes
    *above, last = key.split(".")
    for name in above:
        inner = inner[name]
    inner[last] = value

    [problem] = problems(example, changes)

    assert problem.startswith(f"{AUTH}.{key}")
    assert expected in problem
    assert "canary" not in problem


@pytest.mark.parametrize(
    ("given", "secrets"),
    [("a", ["a"]), (["a"], ["a"]), (["a", "b"], ["a", "b"]), ([{"file": "{file}"}, "b"], None)],
)
def test_one_secret_or_several(given: object, secrets: list[str] | None, example: Path) -> None:
    auth = auth_of(loaded(example, {"client_secret": given}))

    revealed = [secret.reveal() for secret in auth.client_secret]
    assert revealed == (secrets or [example.read_text(encoding="utf-8").removesuffix("\n"), "b"])


@pytest.mark.parametrize(
    ("given", "resources"),
    [
        (None, ()),
        ([], ()),
        ("https://a.example", ("https://a.example",)),
        (["https://a.example", "https://b.example"], ("https://a.example", "https://b.example")),
    ],
)
def test_one_resource_or_several(given: object, resources: tuple[str, ...], example: Path) -> None:
    assert auth_of(loaded(example, SECRET | {"resource": given})).resource == resources


def test_one_key_needs_no_list(example: Path) -> None:
    wanted = {"client_authentication": "private_key_jwt", "client_keys": KEY}

    assert len(auth_of(loaded(example, wanted)).client_keys) == 1


def test_the_environment_reaches_the_items_of_a_list(example: Path) -> None:
    several = {"client_secret": ["a", "b"], "resource": ["https://a.example"]}

    auth = auth_of(loaded(example, several, CLIENT_SECRET__1="c", RESOURCE__1="https://b.example"))

    assert [secret.reveal() for secret in auth.client_secret] == ["a", "c"]
    assert auth.resource == ("https://a.example", "https://b.example")


def test_the_environment_can_number_the_items_of_a_list_that_is_not_there(example: Path) -> None:
    nothing = {"resource": None, "client_authentication": "client_secret_post"}
    items = {"CLIENT_SECRET__0": "a", "CLIENT_SECRET__1__FILE": str(example)}

    auth = auth_of(loaded(example, nothing, **items, RESOURCE__0="https://a.example"))

    assert auth.client_secret[0].reveal() == "a"
    assert auth.client_secret[1].source == f"file {example}"
    assert auth.resource == ("https://a.example",)


@pytest.mark.parametrize(
    ("given", "environ"),
    [
        ({"file": "{file}"}, {"CLIENT_SECRET__0": "canary"}),
        (None, {"CLIENT_SECRET__1": "canary"}),
        (None, {"CLIENT_SECRET__0": "canary", "CLIENT_SECRET__2": "canary"}),
    ],
)
def test_items_beside_a_single_value_or_with_gaps_are_refused(
    given: object, environ: dict[str, str], example: Path
) -> None:
    [problem] = problems(example, {"client_secret": given}, **environ)

    assert problem.startswith(f"{AUTH}.client_secret: ")
    assert "write the whole list" in problem
    assert "canary" not in problem


def test_no_secret_of_a_client_is_shown(example: Path) -> None:
    keys = {"client_authentication": "private_key_jwt", "client_keys": [KEY]}
    for wanted in (
        {"client_secret": ["canary-new", "canary-old"]} | EXCHANGE,
        keys | ASSERTION,
        {**EXCHANGE, "exchange": {"subject_token": "canary", "actor_token": "canary"}} | SECRET,
    ):
        settings = loaded(example, wanted)
        rows = {key.removeprefix(f"{AUTH}."): value for key, value, _ in explain(settings)}

        masked = {key for key, value in rows.items() if value == MASK}
        assert masked & {"client_secret.0", "client_keys.0.key"}
        assert masked & {"exchange.subject_token", "assertion.key.key"}
        assert "canary" not in f"{settings!r} {rows} {settings.model_dump_json()}"


@pytest.mark.parametrize("key", ["issuer", "token_url", "authorization_url"])
@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://login.example.com", True),
        ("http://login.example.com", False),
        ("http://127.0.0.1:8001", True),
        ("http://localhost:8001", True),
    ],
)
def test_the_authorization_server_is_reached_over_https(
    key: str, url: str, accepted: object, example: Path
) -> None:
    wanted = SECRET | LOGIN | {key: url}
    if accepted:
        assert getattr(auth_of(loaded(example, wanted)), key) == url
        return

    [problem] = problems(example, wanted)

    assert problem.startswith(f"{AUTH}.{key}: http would send")
    assert "ticket_systems.desk.allow_http: true" in problem


async def test_a_call_never_outlasts_its_deadline_even_if_it_needs_a_token_first(
    example: Path, clock: ManualClock
) -> None:
    """This is why the lease need not exceed a token's deadline and a call's deadline together."""
    released = asyncio.Event()

    async def slow(_request: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.json_response({"access_token": "t", "token_type": "Bearer"})

    async with serving(slow) as login, serving() as desk, Outbound(loopback=True) as outbound:
        settings = loaded(example, SECRET | {"token_url": login.origin})
        system = settings.ticket_systems["desk"]
        sources = TokenSources(outbound=outbound, clock=clock, dice=lambda: 0.0, tokens=None)
        source = sources.for_system("desk", system, auth_of(settings))
        bounded = towards(outbound, desk.origin, deadline=100, credential=source)
        call = Call("GET", desk.origin)

        assert system.deadline > bounded.deadline
        with pytest.raises(TemporaryError, match="100 ms before it could be sent") as caught:
            await bounded.send(call, repeatable=False)
        assert not caught.value.maybe_sent
        assert not desk.calls

        released.set()  # the request goes on for whoever calls next
        await source.headers(call.url)
        assert (await bounded.send(call, repeatable=False)).status == 200
        assert len(login.calls) == 1


@pytest.mark.parametrize("issuer", ["https://as.example.com/", "https://as.example.com"])
def test_an_issuer_is_kept_as_it_writes_itself(issuer: str, example: Path) -> None:
    """RFC 8414 3.3 compares it as a text, and some end in a slash."""
    assert auth_of(loaded(example, SECRET | {"issuer": issuer})).issuer == issuer
