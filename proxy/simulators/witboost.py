"""The witboost side: sends hook calls, records the callbacks, and closes each hook once."""

import asyncio
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, Unpack

import aiohttp
import orjson
from aiohttp import web
from typing_extensions import override

from proxy.simulators.credentials import Check, NoCheck, ServiceAccount
from proxy.simulators.desk.tickets import iso
from proxy.simulators.faults import HTTP, Kind
from proxy.simulators.journal import Entry, attempts_at
from proxy.simulators.server import ServerOptions, Simulator, answer, json_object, parse_object

FAULTS: dict[str, frozenset[Kind]] = {"callback": HTTP, "exchange": HTTP}
HOOKS = "/api/actionHandler"
Outcome = Literal[
    "accepted", "noted", "closed", "invalid", "unknown_hook", "unauthorized", "wrong_method"
]
"""The result of a callback; `noted` is one without a status, which leaves the hook open."""
STATUSES: dict[Outcome, int] = {
    "accepted": 200,
    "noted": 200,
    "invalid": 400,
    "unauthorized": 401,
    "unknown_hook": 404,
    "closed": 409,
}


@dataclass(frozen=True, slots=True)
class HookCall:
    """A hook call and its immediate answer; `body` is None if that was not a JSON object."""

    hook_id: str
    request_id: str
    respond_to: str
    status: int
    body: dict[str, Any] | None
    headers: dict[str, str]

    @property
    def correlation_id(self) -> str | None:
        """The correlation id in the proxy's answer, if there is one."""
        return correlation_id_in(self.body)


@dataclass(slots=True)
class Hook:
    """A hook that waits for its final status; times in milliseconds since the epoch."""

    id: str
    created: int
    updated: int
    action_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "PENDING"
    closed: asyncio.Future[Entry] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def to_json(self) -> dict[str, str]:
        """Return the hook as witboost's API answers it."""
        return {
            "hookId": self.id,
            "hookName": "RemoteRequestHook",
            "actionId": self.action_id,
            "actionName": "AccessControlAction",
            "creationAt": iso(self.created),
            "updateAt": iso(self.updated),
            "status": self.status,
        }


class Witboost(Simulator):
    """A witboost instance. `hook_url` is the target of hook calls; it may be set after the start.

    `methods` are those that update a hook; others get `wrong_method` (Express answers 404). With
    `adopt_unknown_hooks` a callback to an unknown id creates the hook: for load generators that
    send the hook calls themselves.
    """

    def __init__(
        self,
        *,
        hook_url: str | None = None,
        api_key: str | None = None,
        check: Check | None = None,
        methods: Collection[str] = ("PUT",),
        wrong_method: Literal[404, 405] = 404,
        adopt_unknown_hooks: bool = False,
        **serving: Unpack[ServerOptions],
    ) -> None:
        super().__init__(kinds=FAULTS, **serving)
        self.hook_url = hook_url
        self.check: Check = check or NoCheck()
        self.methods = frozenset(methods)
        self._api_key = api_key
        self._wrong_method = wrong_method
        self._adopt_unknown_hooks = adopt_unknown_hooks
        self._hooks: dict[str, Hook] = {}

    async def ask(
        self,
        fields: dict[str, Any],
        *,
        respond_to: str | None = None,
        request_id: str | None = None,
        reopen: bool = False,
    ) -> HookCall:
        """Send a hook call and return the immediate answer.

        Without `respond_to` a new hook waits for the decision. `reopen` makes a closed hook wait
        again, for another request that reuses its URL. Raises aiohttp.ClientError if the proxy
        cannot be reached.
        """
        if self.hook_url is None:
            raise RuntimeError("set hook_url before sending a hook call")
        hook_id = respond_to.rpartition("/")[2] if respond_to else str(uuid.uuid4())
        address = respond_to or f"{self.url}{HOOKS}/{hook_id}"
        request_id = request_id or str(uuid.uuid4())
        if (respond_to is None) or (reopen and hook_id in self._hooks):
            self._open(hook_id)
        headers = {"Content-Type": "application/json", "X-Request-ID": request_id}
        if self._api_key is not None:
            headers["X-API-Key"] = self._api_key
        content = orjson.dumps({"respondToUrl": address, "fields": fields})
        seen: dict[str, Any] = {"hook": hook_id, "request_id": request_id, "answer": None}
        try:
            async with self.client.post(
                self.hook_url, data=content, headers=headers, allow_redirects=False
            ) as response:
                body = parse_object(await response.read())
                seen |= {"answer": response.status, "correlation_id": correlation_id_in(body)}
                answered = dict(response.headers)
        finally:
            self.journal.record("hook_call", **seen)
        return HookCall(hook_id, request_id, address, response.status, body, answered)

    async def callback(self, hook_id: str, *, within: float = 5.0) -> Entry:
        """Return the journal entry of the final callback that closed a hook.

        Raises TimeoutError after `within` seconds, with the attempts so far.
        """
        try:
            return await asyncio.wait_for(asyncio.shield(self._hooks[hook_id].closed), within)
        except TimeoutError:
            seen = [(entry["kind"], entry.get("answer")) for entry in self.attempts(hook_id)]
            raise TimeoutError(
                f"hook {hook_id} is open after {within} s; attempts {seen}"
            ) from None

    def attempts(self, hook_id: str) -> list[Entry]:
        """Return the callbacks sent to a hook in order, including those that a fault ended."""
        return attempts_at(self.journal.entries, hook_id)

    @override
    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.route("*", f"{HOOKS}/{{hook}}", self.guarded("callback", self._callback)),
            web.post("/api/auth/access-tokens/jwt", self.guarded("exchange", self._exchange)),
            web.post("/requests", self._ask),
            web.get("/hooks", self._show_hooks),
        )

    def _open(self, hook_id: str) -> Hook:
        now = self.clock.now()
        hook = self._hooks[hook_id] = Hook(hook_id, now, now)
        return hook

    async def _callback(self, request: web.Request) -> web.Response:
        hook_id = request.match_info["hook"]
        body = await json_object(request)
        if hook_id not in self._hooks and self._adopt_unknown_hooks:
            self._open(hook_id)
        hook = self._hooks.get(hook_id)
        outcome = self._outcome(request, hook, body)
        status = self._wrong_method if outcome == "wrong_method" else STATUSES[outcome]
        entry = self.journal.record(
            "callback",
            hook=hook_id,
            method=request.method,
            answer=status,
            outcome=outcome,
            status=(body or {}).get("status"),
            correlation_id=correlation_id_in(body),
            body=body,
        )
        if hook is None or status != HTTPStatus.OK:
            return answer(status, {"error": {"message": outcome.replace("_", " ")}})
        hook.updated = entry["at"]
        if outcome == "accepted":
            hook.status = entry["status"]
            hook.closed.set_result(entry)
        return answer(status, hook.to_json())

    def _outcome(
        self, request: web.Request, hook: Hook | None, body: dict[str, Any] | None
    ) -> Outcome:
        if request.method not in self.methods:
            return "wrong_method"
        if not self.check.admits(request.headers.get("Authorization"), now=self.clock.now()):
            return "unauthorized"
        if hook is None:
            return "unknown_hook"
        if body is None or not _valid(body):
            return "invalid"
        if hook.closed.done():
            return "closed"
        return "accepted" if "status" in body else "noted"

    async def _exchange(self, request: web.Request) -> web.Response:
        if not isinstance(self.check, ServiceAccount):
            return answer(404, {"error": "this instance does not exchange access tokens"})
        status, body = self.check.exchange(await json_object(request))
        self.journal.record("exchange", answer=status)
        return answer(status, body)

    async def _ask(self, request: web.Request) -> web.Response:
        order = await json_object(request) or {}
        if not isinstance(order.get("fields"), dict):
            return answer(400, {"error": {"message": "fields is not an object"}})
        try:
            call = await self.ask(
                order["fields"],
                respond_to=order.get("respondToUrl"),
                request_id=order.get("requestId"),
                reopen=order.get("reopen") is True,
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            return answer(502, {"error": {"message": f"the proxy did not answer: {error!r}"}})
        return answer(
            200,
            {
                "hookId": call.hook_id,
                "requestId": call.request_id,
                "respondToUrl": call.respond_to,
                "status": call.status,
                "body": call.body,
            },
        )

    async def _show_hooks(self, _: web.Request) -> web.Response:
        return answer(200, {"hooks": [hook.to_json() for hook in self._hooks.values()]})


def correlation_id_in(body: dict[str, Any] | None) -> str | None:
    """Return `hookInfo.correlationId` of a hook call's answer or of a callback."""
    about = (body or {}).get("hookInfo")
    correlation_id = about.get("correlationId") if isinstance(about, dict) else None
    return correlation_id if isinstance(correlation_id, str) else None


def _valid(body: dict[str, Any]) -> bool:
    """Return True if a body has one of the specification's two forms, Final or StillPending."""
    if not isinstance(body.get("hookInfo", {}), dict):
        return False
    if body.keys() == {"hookInfo"}:
        return True
    return body.get("status") in ("OK", "KO") and body.keys() <= {"status", "hookInfo"}
