"""The explanation of one hook call: a tree of plain values, made without calling any system.

Each part comes from the code that does it in the service: the route from the rules, the ticket from
the adapter's own create, statuses and callbacks from the lifecycle of a record.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import orjson

from proxy.app.destinations import Destinations, prefixes
from proxy.cli.explain.dry_run import MaskedTokens, NotSentError, RecordedCall, Recorder
from proxy.cli.explain.outcomes import CORRELATION_ID, what_follows
from proxy.cli.sample import fields_of
from proxy.domain.clock import SystemClock
from proxy.domain.durations import format_duration
from proxy.domain.identities import Ambiguous, Identities, Resolved
from proxy.domain.models import ApprovalRequest
from proxy.domain.route import Route
from proxy.domain.routing import Rule, choose, facts
from proxy.domain.text import shorten
from proxy.domain.timestamps import rfc3339_seconds
from proxy.errors import InvalidRequestError, ProxyError
from proxy.net.urls import allowed
from proxy.settings import Settings
from proxy.tickets.declaring.expressions import looked_up_paths
from proxy.web.hook import OUTSIDE
from proxy.web.http.body import too_long
from proxy.witboost.hook_call import HookCall, approval_request, read_hook_call

REQUEST_ID: Final = "00000000-0000-0000-0000-000000000000"
_PLACEHOLDER: Final = "example"
_LONGEST: Final = 80
_REFUSED: Final = {
    "dead": "No ticket could be opened, ever: the request would be given up (dead)",
    "fail": "No ticket could be opened, ever: witboost would get KO",
}
_ENDS: Final = {
    "reject": "KO, as expired",
    "fail": "KO, as failed",
    "hold": "held for a person",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A hook call to explain; `complete` is False if its `respondToUrl` was added here."""

    body: bytes
    complete: bool


def sample_of(content: bytes, settings: Settings) -> Sample:
    """Return the hook call in a file: a whole one, one without `respondToUrl`, or bare fields.

    A missing `respondToUrl` is replaced by one that the first witboost instance may use.
    """
    try:
        tree = orjson.loads(content)
    except orjson.JSONDecodeError:
        return Sample(content, complete=True)  # refused, as it would be from witboost
    if not isinstance(tree, dict) or "respondToUrl" in tree:
        return Sample(content, complete=True)
    instance = next(iter(settings.witboost.values()))
    url = f"{instance.callback_urls[0].rstrip('/')}/{_PLACEHOLDER}"
    hook_call = {"respondToUrl": url, "fields": fields_of(tree)}
    return Sample(orjson.dumps(hook_call), complete=False)


async def explain_call(settings: Settings, sample: Sample, *, at: int | None) -> dict[str, Any]:
    """Return the explanation; `ok` is False if a person would have to repair something.

    `at` is the time of the call in milliseconds; without it the explanation has no dates.
    """
    try:
        call, instance = _admit(settings, sample)
    except InvalidRequestError as error:
        return {"ok": False, "answer": 400, "problems": list(error.problems)}
    identities = settings.identities.compiled()
    read = partial(approval_request, CORRELATION_ID, call.body, REQUEST_ID, identities)
    request = read()
    recorder, clock = Recorder(), SystemClock()
    sources = MaskedTokens(outbound=recorder, clock=clock, dice=random.random, tokens=None)
    outgoing = Destinations(settings, recorder, clock, sources)
    rules = outgoing.rules()
    chosen = choose(rules, facts(request))
    route = chosen.route if chosen else outgoing.unroutable()
    explanation: dict[str, Any] = {
        "ok": chosen is not None,
        "answer": 202,
        "witboost": instance,
        "request": _request(request, call, sample),
        "rules": list(_rules(rules, chosen, request)),
        "route": route.name,
        **({} if chosen else {"problems": [route.reason]}),
    }
    if route.system:
        visible = read(allowed=route.allowed_fields)
        explanation |= await _ticket(outgoing, route, visible, recorder.calls)
        if hidden := sorted(request.fields.keys() - visible.fields.keys()):
            explanation["ticket"]["hidden"] = hidden
        explanation["guards"] = _guards(route, request, identities)
    explanation["deadlines"] = list(_deadlines(route, settings, at))
    method = settings.witboost[instance].callback.method
    explanation["callback"] = {"method": method, "url": request.respond_to}
    return explanation | what_follows(route, instance, call.body)


def _admit(settings: Settings, sample: Sample) -> tuple[HookCall, str]:
    """Return the call as it is admitted, and the name of its witboost instance."""
    limits = settings.limits
    if len(sample.body) > limits.body:
        raise too_long(limits.body)
    headers = {"X-Request-ID": REQUEST_ID, "Content-Type": "application/json"}
    call = read_hook_call(sample.body, headers, max_depth=limits.depth)
    for name, instance in settings.witboost.items():
        if allowed(call.respond_to, prefixes(instance)):
            return call, name
    raise InvalidRequestError(OUTSIDE)


def _request(request: ApprovalRequest, call: HookCall, sample: Sample) -> dict[str, Any]:
    """Return the fields that templates can use, without those that are empty."""
    read = asdict(request)
    omitted = {"fields", "respond_to", "correlation_id", "request_id"}
    fields = {name: value for name, value in read.items() if value and name not in omitted}
    url = {"respond_to": call.respond_to} if sample.complete else {}
    return {**url, "correlation_id": CORRELATION_ID, **fields}


def _rules(
    rules: Sequence[Rule], chosen: Rule | None, request: ApprovalRequest
) -> Iterator[dict[str, Any]]:
    """Yield each rule in order, with its result."""
    values, over = facts(request), False
    for rule in rules:
        result = "not looked at" if over else "applies" if rule is chosen else "does not apply"
        over |= rule is chosen
        reason = {} if result == "not looked at" else {"because": _because(rule, values)}
        yield {"route": rule.route.name, "when": rule.when or None, "found": result, **reason}


def _because(rule: Rule, values: Mapping[str, Any]) -> str:
    if rule.applies is None:
        return "without a condition"
    operands = ", ".join(
        f"{'.'.join(path)} is {_value(path, values)}" for path in looked_up_paths(rule.when)
    )
    return f"finds {_short(rule.applies(values))}{operands and '; '}{operands}"


def _value(path: Sequence[str], values: Any) -> str:
    for name in path:
        if not isinstance(values, Mapping) or name not in values:
            return "not there"
        values = values[name]
    return _short(values)


def _short(value: Any) -> str:
    return shorten(orjson.dumps(value).decode(), _LONGEST)


async def _ticket(
    outgoing: Destinations, route: Route, request: ApprovalRequest, recorded: Sequence[RecordedCall]
) -> dict[str, Any]:
    """Return the calls up to the one that creates the ticket, or why it could not be created."""
    system = outgoing.open(route.system, route.declaration)
    problem: dict[str, Any] = {}
    try:
        await system.open(request)
    except NotSentError:
        pass
    except ProxyError as error:
        problem = {"ok": False, "problems": [str(error), _REFUSED[route.on_refusal]]}
        if recorded:  # it made a look-up first, which has no real answer here
            problem = {"problems": [f"The create depends on what a look-up finds: {error}"]}
    calls = [_call(call) for call in recorded]
    kind = route.declaration["kind"]
    return {"ticket": {"system": route.system, "kind": kind, "calls": calls}, **problem}


def _call(call: RecordedCall) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if call.body is not None:
        try:
            body = {"body": orjson.loads(call.body)}
        except orjson.JSONDecodeError:
            body = {"body": call.body.decode(errors="replace")}
    purpose = "look-up" if call.repeatable else "create"
    return {
        "purpose": purpose,
        "method": call.method,
        "url": call.url,
        "headers": dict(sorted(call.headers.items())),
        **body,
    }


def _guards(route: Route, request: ApprovalRequest, identities: Identities) -> dict[str, Any]:
    """Return the guards, and the identities with which approvers are compared."""
    people = dict.fromkeys([*request.identities, request.requester])
    resolved = {person: _identity(identities, person) for person in people if person}
    guards = {_camel(name): value for name, value in asdict(route.guards).items()}
    return {**guards, "people": resolved}


def _identity(identities: Identities, person: str) -> str:
    match identities.of(person):
        case Resolved(email=email, account=account, group=group):
            return f"{'the group ' if group else ''}{email or f'the account {account}'}"
        case Ambiguous(candidates=candidates):
            return f"unsure: {' or '.join(candidates)}"
        case unknown:
            return f"not known: {unknown.reason}"


def _deadlines(route: Route, settings: Settings, at: int | None) -> Iterator[dict[str, Any]]:
    if not route.decide:
        decision, then = route.decision_deadline, _ENDS[route.on_deadline]
        yield _clock("decision", "the hook call", decision, then, at)
    if route.callback_on == "fulfilment":
        then = _ENDS[route.on_fulfilment_deadline]
        yield _clock("fulfilment", "the decision", route.fulfilment_deadline, then)
    yield _clock("retention", "the end", settings.store.retention, "the request is forgotten")


def _clock(name: str, since: str, within: int, then: str, at: int | None = None) -> dict[str, Any]:
    date = {} if at is None else {"at": rfc3339_seconds(at + within)}
    return {"clock": name, "since": since, "within": format_duration(within), **date, "then": then}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
