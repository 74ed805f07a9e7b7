"""What the program would do with one hook call: a tree of plain values, made without any call.

Every part comes from where it really happens: the route from the rules, the ticket from the
adapter's own create, statuses and callbacks from the life of a record.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import orjson

from proxy.app.destinations import Destinations, prefixes
from proxy.cli.explain.dry_run import MaskedTokens, Recorder, Written, WrittenDown
from proxy.cli.explain.outcomes import CORRELATION_ID, what_follows
from proxy.cli.sample import fields_of
from proxy.domain.clock import SystemClock
from proxy.domain.identities import Ambiguous, Identities, Known
from proxy.domain.models import ApprovalRequest
from proxy.domain.route import Route
from proxy.domain.routing import Rule, choose, facts
from proxy.errors import InvalidRequestError, ProxyError
from proxy.net.urls import allowed
from proxy.settings import Settings
from proxy.settings.effective import format_duration
from proxy.tickets.declaring.expressions import places
from proxy.tickets.declaring.sanitize import shorten
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
    """A hook call to explain; `complete` where its `respondToUrl` is its own."""

    body: bytes
    complete: bool


def sample_of(content: bytes, settings: Settings) -> Sample:
    """Return the hook call in a file: a whole one, one without `respondToUrl`, or bare fields.

    Where `respondToUrl` is missing, one that the first witboost instance may use takes its place.
    """
    try:
        tree = orjson.loads(content)
    except orjson.JSONDecodeError:
        return Sample(content, complete=True)  # refused, as witboost's would be
    if not isinstance(tree, dict) or "respondToUrl" in tree:
        return Sample(content, complete=True)
    instance = next(iter(settings.witboost.values()))
    url = f"{instance.callback_urls[0].rstrip('/')}/{_PLACEHOLDER}"
    hook_call = {"respondToUrl": url, "fields": fields_of(tree)}
    return Sample(orjson.dumps(hook_call), complete=False)


async def explained(settings: Settings, sample: Sample, *, at: int | None) -> dict[str, Any]:
    """Return what would happen; `ok` is False where a person would have to repair something.

    `at` is when the call comes in, in milliseconds; without it nothing is dated.
    """
    try:
        call, instance = _taken(settings, sample)
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
    shown: dict[str, Any] = {
        "ok": chosen is not None,
        "answer": 202,
        "witboost": instance,
        "request": _request(request, call, sample),
        "rules": list(_rules(rules, chosen, request)),
        "route": route.name,
        **({} if chosen else {"problems": [route.reason]}),
    }
    if route.system:
        seen = read(allowed=route.allowed_fields)
        shown |= await _ticketed(outgoing, route, seen, recorder.written)
        if hidden := sorted(request.fields.keys() - seen.fields.keys()):
            shown["ticket"]["hidden"] = hidden
        shown["guards"] = _guards(route, request, identities)
    shown["deadlines"] = list(_deadlines(route, settings, at))
    method = settings.witboost[instance].callback.method
    shown["callback"] = {"method": method, "url": request.respond_to}
    return shown | what_follows(route, instance, call.body)


def _taken(settings: Settings, sample: Sample) -> tuple[HookCall, str]:
    """Return the call as it is admitted, and the witboost instance that it is from."""
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
    """Return what was understood, by the names of templates; what is not there is left out."""
    read = asdict(request)
    left_out = {"fields", "respond_to", "correlation_id", "request_id"}
    known = {name: value for name, value in read.items() if value and name not in left_out}
    url = {"respond_to": call.respond_to} if sample.complete else {}
    return {**url, "correlation_id": CORRELATION_ID, **known}


def _rules(
    rules: Sequence[Rule], chosen: Rule | None, request: ApprovalRequest
) -> Iterator[dict[str, Any]]:
    """Yield each rule with what became of it, in order."""
    known, over = facts(request), False
    for rule in rules:
        found = "not looked at" if over else "applies" if rule is chosen else "does not apply"
        over |= rule is chosen
        seen = {} if found == "not looked at" else {"because": _because(rule, known)}
        yield {"route": rule.route.name, "when": rule.when or None, "found": found, **seen}


def _because(rule: Rule, known: Mapping[str, Any]) -> str:
    if rule.applies is None:
        return "without a condition"
    saw = ", ".join(f"{'.'.join(place)} is {_seen(place, known)}" for place in places(rule.when))
    return f"finds {_short(rule.applies(known))}{saw and '; '}{saw}"


def _seen(place: Sequence[str], known: Any) -> str:
    for name in place:
        if not isinstance(known, Mapping) or name not in known:
            return "not there"
        known = known[name]
    return _short(known)


def _short(value: Any) -> str:
    return shorten(orjson.dumps(value).decode(), _LONGEST)


async def _ticketed(
    outgoing: Destinations, route: Route, request: ApprovalRequest, written: Sequence[Written]
) -> dict[str, Any]:
    """Return the calls up to the one that creates the ticket, or why there would be none."""
    system = outgoing.open(route.system, route.declaration)
    problem: dict[str, Any] = {}
    try:
        await system.open(request)
    except WrittenDown:
        pass
    except ProxyError as error:
        problem = {"ok": False, "problems": [str(error), _REFUSED[route.on_refusal]]}
        if written:  # it looked something up first, and nobody answered
            problem = {"problems": [f"The create depends on what a look-up finds: {error}"]}
    calls = [_call(each) for each in written]
    kind = route.declaration["kind"]
    return {"ticket": {"system": route.system, "kind": kind, "calls": calls}, **problem}


def _call(written: Written) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if written.body is not None:
        try:
            body = {"body": orjson.loads(written.body)}
        except orjson.JSONDecodeError:
            body = {"body": written.body.decode(errors="replace")}
    purpose = "look-up" if written.looks else "create"
    return {
        "purpose": purpose,
        "method": written.method,
        "url": written.url,
        "headers": dict(sorted(written.headers.items())),
        **body,
    }


def _guards(route: Route, request: ApprovalRequest, identities: Identities) -> dict[str, Any]:
    """Return the guards, and how well the people are known whom approvers are compared with."""
    people = dict.fromkeys([*request.identities, request.requester])
    known = {person: _known(identities, person) for person in people if person}
    return {**{_camel(name): it for name, it in asdict(route.guards).items()}, "people": known}


def _known(identities: Identities, person: str) -> str:
    match identities.of(person):
        case Known(email=email, account=account, group=group):
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
    date = {} if at is None else {"at": _date(at + within)}
    return {"clock": name, "since": since, "within": format_duration(within), **date, "then": then}


def _date(moment: int) -> str:
    return datetime.fromtimestamp(moment // 1_000, UTC).isoformat().replace("+00:00", "Z")


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
