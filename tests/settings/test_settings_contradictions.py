from pathlib import Path

import pytest

from proxy.errors import SettingsError
from proxy.settings import load
from tests.support.settings_errors import without_places

_KEY = "sha256:" + "0" * 64

CONTRADICTIONS = {
    "lease below a ticket system's deadline": (
        {"WORKER__LEASE": "20s", "TICKET_SYSTEMS__DESK__DEADLINE": "15s"},
        "worker.lease: 20s is too short: it must exceed ticket_systems.desk.deadline (15s)",
    ),
    "lease below a callback's deadline": (
        {"WORKER__LEASE": "20s", "WITBOOST__MAIN__CALLBACK__DEADLINE": "15s"},
        "worker.lease: 20s is too short: it must exceed witboost.main.callback.deadline (15s)",
    ),
    "more processes than can work at once": (
        {"WORKER__PROCESSES": "3", "WORKER__CONCURRENCY": "2"},
        "worker.processes: 3 cannot share out worker.concurrency, which is 2",
    ),
    "more processes than a ticket system takes calls at once": (
        {"WORKER__PROCESSES": "2", "TICKET_SYSTEMS__DESK__CONCURRENCY": "1"},
        "worker.processes: 2 cannot share out ticket_systems.desk.concurrency, which is 1",
    ),
    "more processes than an instance takes calls at once": (
        {"WORKER__PROCESSES": "2", "WITBOOST__MAIN__CALLBACK__CONCURRENCY": "1"},
        "worker.processes: 2 cannot share out witboost.main.callback.concurrency, which is 1",
    ),
    "one name for an instance and a ticket system": (
        {
            "WITBOOST__DESK": '{"callback_urls": ["https://w.example.com/"], "authentication":'
            ' "off", "credential": {"kind": "none"}}'
        },
        "witboost.desk: ticket_systems.desk has the same name",
    ),
    "no time to settle": (
        {"TICKET_SYSTEMS__DESK__SETTLE": "0s"},
        "ticket_systems.desk.settle: must be longer than 0",
    ),
    "no deadline": (
        {"TICKET_SYSTEMS__DESK__DEADLINE": "0s"},
        "ticket_systems.desk.deadline",
    ),
    "a decision deadline before a lost create can be looked up": (
        {"ROUTES__0__DECISION_DEADLINE": "15s"},
        "routes.0.decision_deadline: 15s is too short",
    ),
    "creates given up before a lost one can be repeated": (
        {"RETRIES__CREATE": "15s"},
        "retries.create: 15s is too short",
    ),
    "a route to nowhere": (
        {"ROUTES__0__SYSTEM": "dsek"},
        "routes.0.system: no ticket system is named 'dsek'; did you mean desk?",
    ),
    "keys without one that finds requests again": (
        {
            "STORE__REDIS_URL": "redis://redis:6379/0",
            "ENCRYPTION__KEYS": '[{"id": "one", "key": "' + "A" * 43 + '="}]',
        },
        "encryption.index_key: is required with encryption.keys and store.redis_url",
    ),
    "a key that finds requests, and none that hides them": (
        {"ENCRYPTION__INDEX_KEY": "A" * 43 + "="},
        "encryption.index_key: is of no use without encryption.keys",
    ),
    "no route": ({"ROUTES": "[]"}, "routes: empty"),
    "two routes of one name": (
        {"ROUTES__1": '{"name": "default", "system": "desk"}'},
        "routes: 2 routes are named 'default'",
    ),
    "a route that is never reached": (
        {"ROUTES__1": '{"name": "other", "system": "desk"}'},
        "routes.0.when: is missing, so this route always applies and the 1 after it never do",
    ),
    "a route that neither asks nor decides": (
        {"ROUTES": '[{"name": "default"}]'},
        "routes.0: needs one of system (who decides) and decide",
    ),
    "a route that asks and decides": (
        {"ROUTES__0__DECIDE": "approve"},
        "routes.0: needs one of system (who decides) and decide",
    ),
    "a refusal without a reason": (
        {"ROUTES": '[{"name": "default", "decide": "reject"}]'},
        "routes.0.reason: is required with decide: reject",
    ),
    "fulfilment without a ticket": (
        {"ROUTES": '[{"name": "default", "decide": "approve", "callback_on": "fulfilment"}]'},
        "routes.0.callback_on: fulfilment is read from a ticket, and decide opens none",
    ),
    "our own word for a route": (
        {"ROUTES__0__NAME": "unroutable"},
        "routes.0.name: 'unroutable' is the name of what no route takes",
    ),
    "an override of what all routes share": (
        {"ROUTES__0__OVERRIDES": '{"base_url": "https://evil.example.com"}'},
        "routes.0.overrides.base_url: belongs to the ticket system as a whole",
    ),
    "an override that breaks the declaration": (
        {"ROUTES__0__OVERRIDES": '{"create": {"body": {"title": "{{ verbe }}"}}}'},
        ("routes.0.overrides.create: body.title mentions 'verbe', which is not known"),
    ),
    "an override of what is not there": (
        {"ROUTES__0__OVERRIDES": '{"craete": {}}'},
        ("routes.0.overrides.craete: unknown key; did you mean routes.0.overrides.create?"),
    ),
    "a condition on what no request has": (
        {"ROUTES__0__WHEN": "verbe == 'grant'"},
        "routes.0.when: uses 'verbe'",
    ),
    "a condition that is none": (
        {"ROUTES__0__WHEN": "verb =="},
        "routes.0.when: 'verb ==' is not a JMESPath",
    ),
    "fulfilment that no status means": (
        {"ROUTES__0__CALLBACK_ON": "fulfilment", "TICKET_SYSTEMS__DESK__FULFILMENT": "{}"},
        "routes.0.callback_on: fulfilment is never seen",
    ),
    "a guard that lets no approval pass": (
        {"TICKET_SYSTEMS__DESK__TICKET": '{"status": "status"}'},
        "routes.0.guards.unknown_approver: would hold every approval",
    ),
    "a rule for identities that means nothing": (
        {"IDENTITIES__RULES": '[{"match": "{a}", "email": "{b}@x.y"}]'},
        "identities.rules.0: {b} is not",
    ),
    "polls that speed up": (
        {"ROUTES__0__POLL__FIRST": "6m"},
        "routes.0.poll.first: 6m is longer than poll.slowest (5m)",
    ),
    "an audit that forgets before the store does": (
        {"AUDIT__RETENTION": "30d"},
        "audit.retention: 30d is shorter than store.retention (90d)",
    ),
    "refusing before slowing": (
        {"LIMITS__BACKLOG": "100"},
        "limits.slow_from: 5000 is above limits.backlog (100)",
    ),
    "a ticket system in the clear": (
        {"TICKET_SYSTEMS__DESK__BASE_URL": "http://desk.example.com"},
        "ticket_systems.desk.base_url: http would send credentials readable",
    ),
    "a token endpoint in the clear": (
        {"TICKET_SYSTEMS__DESK__AUTH__TOKEN_URL": "http://login.example.com/token"},
        "ticket_systems.desk.auth.token_url: http would send",
    ),
    "a callback in the clear": (
        {"WITBOOST__MAIN__CALLBACK_URLS": '["http://witboost.example.com/api/"]'},
        "witboost.main.callback_urls.0: http would send",
    ),
    "an access token in the clear": (
        {"WITBOOST__MAIN__CREDENTIAL__URL": "http://witboost.example.com"},
        "witboost.main.credential.url: http would send",
    ),
    "an address that is not public": (
        {"TICKET_SYSTEMS__DESK__BASE_URL": "https://10.1.2.3"},
        "ticket_systems.desk.base_url: 10.1.2.3 is not public; if it is right, open its network",
    ),
    "an address of a login that is not public": (
        {
            "TICKET_SYSTEMS__DESK__NETWORKS": '["private"]',
            "TICKET_SYSTEMS__DESK__AUTH__NETWORKS": "[]",
            "TICKET_SYSTEMS__DESK__AUTH__TOKEN_URL": "https://10.1.2.3/token",
        },
        "ticket_systems.desk.auth.token_url: 10.1.2.3 is not public; if it is right, open its",
    ),
    "an address of witboost that is not public": (
        {"WITBOOST__MAIN__CALLBACK_URLS": '["https://192.168.0.1/api/"]'},
        "witboost.main.callback_urls.0: 192.168.0.1 is not public; if it is right, open its",
    ),
    "this machine": (
        {
            "OUTBOUND__LOOPBACK": "false",
            "WITBOOST__MAIN__CREDENTIAL__URL": "http://localhost:8080",
        },
        "witboost.main.credential.url: 127.0.0.1 is this machine itself; outbound.loopback: true",
    ),
    "a network that is none": (
        {"WITBOOST__MAIN__NETWORKS": '["intranet"]'},
        "witboost.main.networks: 'intranet'",
    ),
    "the metadata service of a cloud": (
        {"WITBOOST__MAIN__NETWORKS": '["169.254.0.0/16"]'},
        "witboost.main.networks: 169.254.0.",
    ),
    "a proxy that is none": (
        {"OUTBOUND__PROXY": '{"url": "egress:3128"}'},
        "outbound.proxy.url: not the URL of an HTTP",
    ),
    "a certificate that anybody could name": (
        {
            "TICKET_SYSTEMS__DESK__EVENTS": '{"auth": "client_certificate", "header": "X-Cert",'
            ' "ticket": "id", "secrets": ["a0e2"]}'
        },
        "ticket_systems.desk.events.auth: client_certificate believes a header",
    ),
    "a callback to ourselves": (
        {"WITBOOST__MAIN__CALLBACK_URLS": '["https://approval.example.com/approval-requests/"]'},
        "witboost.main.callback_urls.0: is this program itself, which public_url names",
    ),
    "two listeners at one port": (
        {"LISTEN__OPERATORS": '{"port": 8080}'},
        "listen.operators.port: listen.port is the same",
    ),
    "keys without clients": (
        {"WITBOOST__MAIN__CLIENTS": "{}"},
        "witboost.main.clients: authentication by keys needs a client",
    ),
    "a client without keys": (
        {"WITBOOST__MAIN__CLIENTS__WITBOOST__KEYS": "[]"},
        "witboost.main.clients.witboost.keys: empty",
    ),
    "one key for two": (
        {
            "WITBOOST__MAIN__CLIENTS__WITBOOST__KEYS": f'["{_KEY}"]',
            "OPERATORS__CLIENTS__ALICE__KEYS": f'["{_KEY}"]',
        },
        "operators.clients.alice.keys.0: witboost.main.clients.witboost has the same key",
    ),
    "no callback address": (
        {"WITBOOST__MAIN__CALLBACK_URLS": "[]"},
        "witboost.main.callback_urls: empty",
    ),
}

ALLOWED = {
    "witboost behind the same host": {
        "WITBOOST__MAIN__CALLBACK_URLS": '["https://approval.example.com/api/actionHandler/"]'
    },
    "addresses in networks that are open": {
        "TICKET_SYSTEMS__DESK__BASE_URL": "https://10.1.2.3",
        "TICKET_SYSTEMS__DESK__NETWORKS": '["10.1.0.0/16"]',
        "TICKET_SYSTEMS__DESK__AUTH__TOKEN_URL": "https://10.1.2.4/token",
        "WITBOOST__MAIN__CALLBACK_URLS": '["https://[fd12::1]/api/"]',
        "WITBOOST__MAIN__CREDENTIAL__URL": "https://192.168.1.1",
        "WITBOOST__MAIN__NETWORKS": '["private"]',
    },
    "http on this machine": {
        "TICKET_SYSTEMS__DESK__BASE_URL": "http://127.0.0.1:8001",
        "TICKET_SYSTEMS__DESK__AUTH__TOKEN_URL": "http://[::1]:8001/token",
        "WITBOOST__MAIN__CALLBACK_URLS": '["http://localhost:8002/api/"]',
        "WITBOOST__MAIN__CREDENTIAL__URL": "http://witboost.localhost:8002",
    },
    "http where somebody accepts it": {
        "TICKET_SYSTEMS__DESK__BASE_URL": "http://desk:8001",
        "TICKET_SYSTEMS__DESK__AUTH__TOKEN_URL": "http://desk:8001/token",
        "TICKET_SYSTEMS__DESK__ALLOW_HTTP": "true",
        "WITBOOST__MAIN__CALLBACK_URLS": '["http://witboost:8002/api/"]',
        "WITBOOST__MAIN__CREDENTIAL__URL": "http://witboost:8002",
        "WITBOOST__MAIN__ALLOW_HTTP": "true",
    },
    "nobody proves anything, by word": {
        "WITBOOST__MAIN__AUTHENTICATION": "off",
        "WITBOOST__MAIN__CLIENTS": "{}",
    },
    "a lease that just covers deadline and margin": {"WORKER__LEASE": "15001ms"},
    "fulfilment that a status means": {"ROUTES__0__CALLBACK_ON": "fulfilment"},
}


def _environ(changes: dict[str, str]) -> dict[str, str]:
    return {f"APPROVAL_PROXY__{name}": value for name, value in changes.items()}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_is_refused_by_name(case: str, example: Path) -> None:
    changes, expected = CONTRADICTIONS[case]

    with pytest.raises(SettingsError) as refusal:
        load(example, _environ(changes))

    key, _, text = expected.partition(": ")
    problems = without_places(refusal.value.problems)
    assert any(problem.startswith(f"{key}: ") and text in problem for problem in problems), problems


@pytest.mark.parametrize("case", ALLOWED)
def test_what_is_no_contradiction_is_accepted(case: str, example: Path) -> None:
    assert load(example, _environ(ALLOWED[case])).routes[0].system == "desk"


def test_contradictions_are_told_together_with_slips(example: Path) -> None:
    environ = _environ({"LOGS__LEVLE": "info", "LIMITS__BACKLOG": "1", "STORE__PARTITIONS": "0"})

    with pytest.raises(SettingsError) as refusal:
        load(example, environ)

    beginnings = {problem.split(":")[0] for problem in without_places(refusal.value.problems)}
    assert beginnings == {"logs.levle", "limits.slow_from", "store.partitions"}


def test_a_broken_section_does_not_invent_contradictions(example: Path) -> None:
    environ = _environ({"WORKER__LEASE": "long", "TICKET_SYSTEMS__DESK__DEADLINE": "2m"})

    with pytest.raises(SettingsError) as refusal:
        load(example, environ)

    [problem] = without_places(refusal.value.problems)
    assert problem.startswith("worker.lease: 'long'")
