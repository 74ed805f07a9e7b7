"""`approval-proxy login`: a person logs in once, and the program renews the tokens from then on."""

import asyncio
import io
import os
import sys
import webbrowser
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import click

from proxy.app.destinations import Destinations
from proxy.app.offline import open_clients
from proxy.app.token_sources import login_key, token_parameters
from proxy.cli.loopback import listening
from proxy.cli.options import config_option
from proxy.domain.schedule import MINUTE
from proxy.errors import ConfigurationError
from proxy.oauth2.discovery import Metadata
from proxy.oauth2.dpop import Dpop
from proxy.oauth2.endpoint import TokenParameters
from proxy.oauth2.grants import AuthorizationCode, Grant
from proxy.oauth2.login import Authorization, begin, code_of
from proxy.oauth2.tokens import Token
from proxy.settings import Settings, load
from proxy.settings.error_text import nearest
from proxy.settings.oauth2 import Login, OAuth2

TIMEOUT: Final = 10 * MINUTE
_PASTED_URI: Final = "http://127.0.0.1/callback"  # RFC 8252 7.3; nothing listens there


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The authorization server of a ticket system, our client there, and our token store."""

    system: str
    client_id: str
    parameters: TokenParameters
    redirect_uri: str | None
    extra: dict[str, str] = field(default_factory=dict)
    metadata: Callable[[], Awaitable[Metadata]]
    request_token: Callable[[Grant], Awaitable[Token]]
    store_token: Callable[[str], Awaitable[None]]
    store_name: str


@click.command()
@click.argument("system", metavar="TICKET-SYSTEM", help="Its name in the settings.")
@config_option
@click.option("--no-browser", is_flag=True, help="Only print the URL, and wait for the redirect.")
@click.option(
    "--paste",
    is_flag=True,
    help="For a browser on another machine: read the URL of the redirect, or the code in it.",
)
def login(system: str, config: Path | None, *, no_browser: bool, paste: bool) -> int:
    """Log in to a ticket system once, for the grant refresh_token.

    Opens the login page of its authorization server and stores the refresh token, encrypted. The
    account that logs in is the one that creates the tickets.
    """
    if no_browser and paste:
        raise click.UsageError("--paste opens no browser anyway: omit --no-browser.")
    settings = load(config, os.environ)
    try:
        click.echo(f"\n{asyncio.run(_run(settings, system, browse=not no_browser, paste=paste))}")
    except KeyboardInterrupt:
        click.echo("\napproval-proxy: the login was given up; nothing was stored", err=True)
        return 1
    return 0


async def _run(settings: Settings, system: str, *, browse: bool, paste: bool) -> str:
    async with open_clients(settings) as outgoing:
        account = _account(outgoing, system)
        return await (by_paste(account) if paste else by_browser(account, browse=browse))


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
            f"ticket_systems.{name}.auth: a login is needed only for kind: oauth2 with"
            " grant: refresh_token"
        )
    login, tokens = auth.login or Login(), sources.refresh_tokens(name)
    return Account(
        system=name,
        client_id=auth.client_id,
        parameters=token_parameters(auth),
        redirect_uri=login.redirect_uri,
        extra=login.extra | _bound(sources.dpop(auth)),
        metadata=sources.metadata(name, system, auth).server,
        request_token=sources.endpoint(name, system, auth).ask,
        store_token=partial(
            tokens.put, login_key(system, auth), system=name, by=f"user {os.getuid()}"
        ),
        store_name="the store" if settings.store.redis_url else f"{settings.store.folder}",
    )


def _bound(dpop: Dpop | None) -> dict[str, str]:
    """Return the parameter that binds the code to our key (RFC 9449 10)."""
    return {"dpop_jkt": dpop.thumbprint} if dpop else {}


async def by_browser(account: Account, *, browse: bool, timeout_ms: int = TIMEOUT) -> str:
    """Log in with a redirect to this machine, and return the result for the person."""
    metadata = await account.metadata()
    async with listening(account.redirect_uri) as loopback:
        login = _begun(account, metadata, loopback.redirect_uri)
        click.echo(
            f"Log in to {account.system} as the account that is to create its tickets:\n\n"
            f"  {login.url}\n\n"
            f"Waiting at {loopback.redirect_uri} for at most {timeout_ms // MINUTE} minutes;"
            " Ctrl-C gives up."
        )
        if browse and not await asyncio.to_thread(webbrowser.open, login.url):
            click.echo("No browser could be opened: open the URL yourself.")
        return await loopback.outcome(
            lambda query: _finish(account, login, query), timeout_ms=timeout_ms
        )


async def by_paste(account: Account) -> str:
    """Log in with a redirect that the person pastes, and return the result for the person."""
    metadata = await account.metadata()
    login = _begun(account, metadata, account.redirect_uri or _PASTED_URI)
    click.echo(
        f"Log in to {account.system} as the account that is to create its tickets, in any"
        f" browser:\n\n  {login.url}\n\n"
        f"The browser is then sent to {login.redirect_uri}, where it may find nothing. Paste the"
        " whole URL from its address bar, or the code in it:"
    )
    return await _finish(account, login, await _line())


def _begun(account: Account, metadata: Metadata, redirect_uri: str) -> Authorization:
    if not metadata.authorization_endpoint:
        raise ConfigurationError(
            f"ticket_systems.{account.system}.auth: the login page is not known: set"
            " authorization_url, or an issuer whose metadata names an authorization_endpoint"
        )
    parameters = account.parameters
    return begin(
        metadata.authorization_endpoint,
        client_id=account.client_id,
        redirect_uri=redirect_uri,
        scope=parameters.scope,
        resource=parameters.resource,
        audience=parameters.audience,
        extra=account.extra,
        issuer=metadata.issuer,
        iss_required=metadata.authorization_response_iss_parameter_supported,
    )


async def _finish(account: Account, login: Authorization, redirect: str) -> str:
    """Redeem the code and store the refresh token; the access token is not stored."""
    code = code_of(redirect, login)
    token = await account.request_token(AuthorizationCode(code, login.verifier, login.redirect_uri))
    if not token.refresh_token:
        raise ConfigurationError(
            f"the login to {account.system} succeeded without a refresh token, so nothing was"
            " stored: add offline_access to `scope` (or its name at this server), and allow this"
            " client the grant refresh_token"
        )
    await account.store_token(token.refresh_token)
    return f"The refresh token of {account.system} is stored, encrypted, in {account.store_name}."


async def _line() -> str:
    """Return the next line of standard input, without a thread that would outlive Ctrl-C."""
    ready, loop = asyncio.Event(), asyncio.get_running_loop()
    try:
        loop.add_reader(sys.stdin.fileno(), ready.set)
    except (PermissionError, io.UnsupportedOperation):
        return sys.stdin.readline()  # a file needs no waiting
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()
