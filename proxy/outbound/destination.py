"""One system that we call: its origins, its credential, and one deadline over everything.

A destination owns the credential, the origins and paths that it may be sent to, and the networks
that these may be in, so the credential cannot go anywhere else. Redirects are not followed, answers
are limited in size, and every error says whether the other side may have acted. The meaning of an
HTTP status is left to `responses.raise_for_status`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt
from yarl import URL

from proxy.domain.schedule import Jitter
from proxy.errors import ConfigurationError, PermanentError, TemporaryError
from proxy.net.addresses import EgressPolicy
from proxy.net.urls import under
from proxy.outbound import http1
from proxy.outbound.credentials import Credential
from proxy.outbound.guarded_connector import PROGRESS, Connector, Progress
from proxy.outbound.responses import Call, Response, without_secrets
from proxy.security.tls import Tls

Observe = Callable[[str, str, float], None]
"""Called after each send with the destination, the outcome (`2xx`, `timeout` ...) and seconds."""

ANSWER_LIMIT: Final = 64 * 1024


_Proven = tuple[Response, Mapping[str, str]]
"""A response, and the headers of the credential that was used for it."""


class _NetworkError(TemporaryError):
    """The network failed, not the other side: worth a short retry if the call can be repeated."""


class Destination:
    """One system that we call, with its origins, credential, deadline (milliseconds) and limits."""

    def __init__(
        self,
        connector: Callable[[], Connector],
        *,
        name: str,
        origins: Sequence[str],
        egress: EgressPolicy,
        proxy: str | None,
        deadline: int,
        concurrency: int,
        credential: Credential,
        renew_on: frozenset[int],
        tls: Tls,
        answer_limit: int,
        dice: Jitter,
        observe: Observe,
    ) -> None:
        self.name = name
        self.deadline = deadline
        self._connector = connector
        self._common: dict[tuple[str, str, int], aiohttp.ClientRequest] = {}
        self._paths: dict[tuple[str, str, int], list[str]] = {}
        for url in map(URL, origins):
            self._paths.setdefault(_origin(url), []).append(url.raw_path)
        self._egress = egress
        self._proxy = proxy
        self._slots = asyncio.Semaphore(concurrency)
        self._credential = credential
        self._renew_on = renew_on
        self._tls = tls
        self._answer_limit = answer_limit
        self._dice = dice
        self._observe = observe

    async def send(self, call: Call, *, repeatable: bool) -> Response:
        """Send the call within the deadline and return its answer, whatever the status.

        A repeatable call is tried three times when the network fails. After a status that means a
        refused credential it is sent once more with a fresh one.

        Raises:
            ConfigurationError: the URL is outside the origins, its address is not allowed, there is
                no credential, or the TLS certificate is not trusted.
            TemporaryError: no answer in time; `maybe_sent` is False only if nothing was sent.
            PermanentError: the call cannot be written as HTTP.
        """
        progress, started, outcome = Progress(self._egress), time.monotonic(), "refused"
        queued = True
        try:
            url = self._allowed(call)
            outcome = "error"
            async with asyncio.timeout(self.deadline / 1_000), self._slots:
                queued = False
                answer = await self._send_renewing(call, url, progress, repeatable=repeatable)
            outcome = f"{answer.status // 100}xx"
        except TimeoutError as error:
            outcome = "timeout"
            when = "after it was sent" if progress.connected else "before it could be sent"
            when = "waiting for the calls before it" if queued else when
            raise TemporaryError(
                f"{self.name}: {call.label} passed its deadline of {self.deadline} ms {when}:"
                " check that the system is up and fast enough, or raise the deadline",
                maybe_sent=progress.connected,
                queue_timeout=queued,
            ) from error
        except _NetworkError as error:
            outcome = "lost" if error.maybe_sent else "unreachable"
            raise
        except ConfigurationError:
            outcome = "refused" if progress.refused else outcome
            raise
        finally:
            self._observe(self.name, outcome, time.monotonic() - started)
        return answer

    def _allowed(self, call: Call) -> URL:
        """Return the URL as it will be sent, byte for byte, so check and use cannot differ."""
        if not (call.url.isascii() and call.url.isprintable() and " " not in call.url):
            raise ConfigurationError(f"{self.name}: a URL to call holds invalid characters")
        try:
            url = URL(call.url, encoded=True)
            allowed = url.user is None and url.password is None and self._covers(url)
        except ValueError as error:
            raise ConfigurationError(f"{self.name}: {call.label} is not a valid URL") from error
        if not allowed:
            raise ConfigurationError(
                f"{self.name}: {call.label} is outside the origins and paths configured"
                " for this destination, so nothing was sent"
            )
        return url

    def _covers(self, url: URL) -> bool:
        paths = self._paths.get(_origin(url), ())
        return any(path == "/" or under(url.raw_path, path) for path in paths)

    async def _send_renewing(
        self, call: Call, url: URL, progress: Progress, *, repeatable: bool
    ) -> Response:
        exchange = self._send_repeatedly if repeatable else self._send_with_credential
        answer, proof = await exchange(call, url, progress)
        if answer.status in self._renew_on and self._credential.invalidate(proof):
            progress.connected = False
            answer, _ = await exchange(call, url, progress)
        return answer

    async def _send_repeatedly(self, *what: Any) -> _Proven:
        """Try three times when the network fails: for calls that may be repeated.

        The first try goes without tenacity, which would cost it more than the call itself.
        """
        try:
            return await self._send_with_credential(*what)
        except _NetworkError:
            await asyncio.sleep(self._pause())
        tries = AsyncRetrying(
            stop=stop_after_attempt(2),
            wait=lambda _: self._pause(),
            retry=retry_if_exception_type(_NetworkError),
            reraise=True,
        )
        answer: _Proven = await tries(self._send_with_credential, *what)
        return answer

    async def _send_with_credential(self, call: Call, url: URL, progress: Progress) -> _Proven:
        """Send the call, and once more if the response says what the credential must contain."""
        credential = self._credential
        for last in (False, True):
            progress.connected = False
            proof = await credential.headers(call.url, call.method)
            answer = await self.exchange(call, url, proof, progress)
            if not credential.on_response(call.url, answer.status, answer.headers) or last:
                break
        return answer, proof

    def _pause(self) -> float:
        return 0.05 + 0.45 * self._dice()

    async def exchange(
        self, call: Call, url: URL, proof: Mapping[str, str], progress: Progress
    ) -> Response:
        """Send one call with its proof, once: every call of every destination comes through here.

        Raises as `send` does.
        """
        progress.connected = progress.tried = False
        progress.refused.clear()
        PROGRESS.set(progress)
        try:
            status, headers, body = await http1.exchange(
                self._connector(),
                self._origin(url),
                url,
                method=call.method,
                headers={**call.headers, **proof},
                body=call.body,
                limit=self._answer_limit + 1,
            )
        except http1.FAILURES as error:
            raise self._failure(error, call, url, progress) from error
        except ValueError:
            # not chained: aiohttp's message repeats the header, which may be a secret
            raise PermanentError(
                f"{self.name}: {call.label} has a header or method that HTTP forbids"
            ) from None
        return Response(status, headers, self._body(status, body, call, proof), call.label)

    def _origin(self, url: URL) -> aiohttp.ClientRequest:
        """Return what all calls to an origin have in common; made anew with new TLS files."""
        origin, trust = _origin(url), self._tls.context()
        common = self._common.get(origin)
        if common is None or common.ssl is not trust:
            common = self._common[origin] = http1.origin(url, trust, self._proxy)
        return common

    def _failure(
        self, error: Exception, call: Call, url: URL, progress: Progress
    ) -> ConfigurationError | TemporaryError:
        """Return the error that a call without an answer means for its caller."""
        match error:
            case aiohttp.ClientConnectorCertificateError():
                return ConfigurationError(
                    f"{self.name}: the certificate of {url.origin()} is not trusted"
                    f" ({error.certificate_error}): set `ca_file`, or have the certificate repaired"
                )
            case aiohttp.InvalidURL():
                return ConfigurationError(f"{self.name}: {call.label} is not a valid URL")
            case aiohttp.ClientHttpProxyError():
                return self._refused_by_proxy(url, error.status)
            case _ if progress.refused and not progress.tried:
                return ConfigurationError(
                    f"{self.name}: nothing was sent to {url.origin()}: {progress.refused[0]}"
                )
        lost = "the answer was lost" if progress.connected else "no connection could be made"
        return _NetworkError(
            f"{self.name}: {call.label} failed, {lost} ({type(error).__name__}): check that"
            " the system is up and can be reached from here",
            maybe_sent=progress.connected,
        )

    def _refused_by_proxy(self, url: URL, status: int) -> ConfigurationError | TemporaryError:
        what = f"{self.name}: the proxy of `outbound.proxy` answered {status} for {url.origin()}"
        if status >= 500:  # noqa: PLR2004 - server errors: the system behind it does not answer
            return TemporaryError(f"{what}: it will be tried again", maybe_sent=False)
        return ConfigurationError(f"{what}: have it allow this host, and check its credential")

    def _body(self, status: int, body: bytes, call: Call, proof: Mapping[str, str]) -> bytes:
        """Return the body; one longer than the limit is an error only if it would be used."""
        if status < 300:  # noqa: PLR2004 - other bodies are only quoted
            if len(body) > self._answer_limit:
                raise TemporaryError(
                    f"{self.name}: the answer to {call.label} is longer than"
                    f" {self._answer_limit} bytes: raise the limit, or ask for less"
                )
            return body
        secrets = (value.rpartition(" ")[2] for value in proof.values())
        return without_secrets(body, [*call.secrets, *secrets])


def _origin(url: URL) -> tuple[str, str, int]:
    if url.scheme not in {"http", "https"} or not url.host or url.port is None:
        raise ValueError(f"{url.scheme}://{url.host or ''} is not an http or https origin")
    return url.scheme, url.host.lower(), url.port
