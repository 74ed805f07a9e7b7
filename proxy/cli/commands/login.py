"""`approval-proxy login`: a person logs in once, and a ticket system can be called from then on."""

import argparse
import asyncio
import io
import os
import sys
import webbrowser
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from proxy.app.destinations import Destinations
from proxy.app.offline import open_clients
from proxy.app.token_sources import login_key, token_parameters
from proxy.cli.loopback import listening
from proxy.cli.options import Subparsers, add_config, settings_of
from proxy.domain.schedule import MINUTE
from proxy.errors import ConfigurationError
from proxy.oauth2.discovery import Metadata
from proxy.oauth2.dpop import Dpop
from proxy.oauth2.endpoint import TokenParameters
from proxy.oauth2.grants import AuthorizationCode, Grant
from proxy.oauth2.login import Authorization, begin, code_of
from proxy.oauth2.tokens import Token
from proxy.settings import Settings
from proxy.settings.error_text import nearest
from proxy.settings.oauth2 import Login, OAuth2

WITHIN: Final = 10 * MINUTE
_PASTED_URI: Final = "http://127.0.0.1/callback"  # RFC 8252 7.3; nobody listens there


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whom to log in to, as what client, and where the refresh token goes."""

    system: str
    client_id: str
    asked: TokenParameters
    redirect_uri: str | None
    extra: dict[str, str] = field(default_factory=dict)
    metadata: Callable[[], Awaitable[Metadata]]
    ask: Callable[[Grant], Awaitable[Token]]
    put: Callable[[str], Awaitable[None]]
    place: str


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "login",
        help="log in to a ticket system once, for the grant refresh_token",
        description="Opens the login page of a ticket system's authorization server, takes what it"
        " answers and stores the refresh token, encrypted. The account that logs in is the one"
        " that opens the tickets.",
    )
    parser.add_argument("system", metavar="TICKET-SYSTEM", help="its name in the settings")
    add_config(parser)
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--no-browser", action="store_true", help="print the URL only, and wait for the redirect"
    )
    way.add_argument(
        "--paste",
        action="store_true",
        help="for a browser on another machine: read the URL to which it was sent, or the code",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Log in; raises ProxyError, and then nothing was stored."""
    settings = settings_of(arguments)
    try:
        return asyncio.run(_run(settings, arguments))
    except KeyboardInterrupt:
        sys.stderr.write("\napproval-proxy: the login was given up; nothing was stored\n")
        return 1


async def _run(settings: Settings, arguments: argparse.Namespace) -> int:
    async with open_clients(settings) as outgoing:
        account = _account(outgoing, arguments.system)
        if arguments.paste:
            outcome = await by_paste(account)
        else:
            outcome = await by_browser(account, browse=not arguments.no_browser)
    _say("", outcome)
    return 0


def _account(outgoing: Destinations, name: str) -> Account:
    settings, sources = outgoing.settings, outgoing.sources
    system = settings.ticket_systems.get(name)
    if system is None:
        raise ConfigurationError(
            f"no ticket system is named {name!r}; {nearest(name, list(settings.ticket_systems))}"
        )
    auth = system.auth
    if not (isinstance(auth, OAuth2) and auth.grant == "refresh_token"):
        raise ConfigurationError(
            f"ticket_systems.{name}.auth: nobody need log in, unless it is of kind oauth2 with"
            " grant: refresh_token"
        )
    login, tokens = auth.login or Login(), sources.refresh_tokens(name)
    return Account(
        system=name,
        client_id=auth.client_id,
        asked=token_parameters(auth),
        redirect_uri=login.redirect_uri,
        extra=login.extra | _bound(sources.dpop(auth)),
        metadata=sources.metadata(name, system, auth).server,
        ask=sources.endpoint(name, system, auth).ask,
        put=partial(tokens.put, login_key(system, auth), system=name, by=f"user {os.getuid()}"),
        place="the store" if settings.store.redis_url else f"{settings.store.folder}",
    )


def _bound(dpop: Dpop | None) -> dict[str, str]:
    """Bind the code to our key, so that nobody else can redeem it (RFC 9449 10)."""
    return {"dpop_jkt": dpop.thumbprint} if dpop else {}


async def by_browser(account: Account, *, browse: bool, within: int = WITHIN) -> str:
    """Return what to tell the person after a login whose redirect reached this machine."""
    metadata = await account.metadata()
    async with listening(account.redirect_uri) as loopback:
        login = _begun(account, metadata, loopback.redirect_uri)
        _say(
            f"Log in to {account.system} as the account that shall open its tickets:",
            "",
            f"  {login.url}",
            "",
            f"Waiting at {loopback.redirect_uri} for at most {within // MINUTE} minutes;"
            " Ctrl-C gives up.",
        )
        if browse and not await asyncio.to_thread(webbrowser.open, login.url):
            _say("No browser could be opened: open the URL yourself.")
        return await loopback.outcome(lambda said: _finish(account, login, said), within=within)


async def by_paste(account: Account) -> str:
    """Return what to tell the person after a login that was carried over by hand."""
    metadata = await account.metadata()
    login = _begun(account, metadata, account.redirect_uri or _PASTED_URI)
    _say(
        f"Log in to {account.system} as the account that shall open its tickets, in any browser:",
        "",
        f"  {login.url}",
        "",
        f"It will then be sent to {login.redirect_uri}, where it may find nothing. Paste the whole"
        " URL from its address bar, or the code in it:",
    )
    return await _finish(account, login, await _line())


def _begun(account: Account, metadata: Metadata, redirect_uri: str) -> Authorization:
    if not metadata.authorization_endpoint:
        raise ConfigurationError(
            f"ticket_systems.{account.system}.auth: no place to log in is known: set"
            " authorization_url, or an issuer whose metadata names an authorization_endpoint"
        )
    wanted = account.asked
    return begin(
        metadata.authorization_endpoint,
        client_id=account.client_id,
        redirect_uri=redirect_uri,
        scope=wanted.scope,
        resource=wanted.resource,
        audience=wanted.audience,
        extra=account.extra,
        issuer=metadata.issuer,
        iss_required=metadata.authorization_response_iss_parameter_supported,
    )


async def _finish(account: Account, login: Authorization, said: str) -> str:
    """Redeem the code and store the refresh token; the access token is not kept."""
    code = code_of(said, login)
    token = await account.ask(AuthorizationCode(code, login.verifier, login.redirect_uri))
    if not token.refresh_token:
        raise ConfigurationError(
            f"the login to {account.system} went well, but it gave no refresh token, so nothing was"
            " stored: have `scope` name offline_access (or what this server calls it), and allow"
            " this client the grant refresh_token"
        )
    await account.put(token.refresh_token)
    return f"The refresh token of {account.system} is stored, encrypted, in {account.place}."


async def _line() -> str:
    """Return the next line of standard input, without a thread that would outlive Ctrl-C."""
    ready, loop = asyncio.Event(), asyncio.get_running_loop()
    try:
        loop.add_reader(sys.stdin.fileno(), ready.set)
    except (PermissionError, io.UnsupportedOperation):
        return sys.stdin.readline()  # a file is never waited for
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
