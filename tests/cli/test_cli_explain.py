"""`approval-proxy explain`: the same as the program would do, from the settings alone."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from proxy.cli import main
from proxy.settings.secrets import MASK
from proxy.tickets.kinds import KINDS

DEPLOY: Final = Path(__file__).parents[2] / "deploy" / "examples"
GOLDEN: Final = Path(__file__).parent / "golden"
SAMPLE: Final = DEPLOY / "sample.json"
FIELDS: Final[dict[str, Any]] = json.loads(SAMPLE.read_text(encoding="utf-8"))["fields"]
URL: Final = "https://witboost.example.com/api/actionHandler/123456"

OFFLINE: Final = """
import sys

def watch(event, arguments):
    family = arguments[1] if event == "socket.__new__" else None
    if event in {"socket.connect", "socket.getaddrinfo", "subprocess.Popen"} or family in {2, 10}:
        sys.stderr.write(f"not offline: {event}\\n")
        sys.stderr.flush()
        __import__("os")._exit(99)

sys.addaudithook(watch)
from proxy.cli import main
sys.exit(main(sys.argv[1:]))
"""

Explain = Callable[..., tuple[int, dict[str, Any]]]


def settings(**changes: Any) -> dict[str, Any]:
    """Return the example's settings, free to be changed."""
    tree = yaml.safe_load((DEPLOY / "approval-proxy.yaml").read_text(encoding="utf-8"))
    return {**tree, **changes}


@pytest.fixture
def explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Explain:
    """Return what runs the command on settings and a sample."""

    def run(sample: Any, tree: dict[str, Any] | None = None, *words: str) -> tuple[int, Any]:
        config, request = tmp_path / "settings.yaml", tmp_path / "sample.json"
        config.write_text(yaml.safe_dump(tree or settings()), encoding="utf-8")
        text = sample if isinstance(sample, str) else json.dumps(sample)
        request.write_text(text, encoding="utf-8")
        more = words or ("--json",)
        code = main(["explain", "--config", str(config), "--request", str(request), *more])
        out = capsys.readouterr().out
        return code, json.loads(out) if "--json" in more else out

    return run


def offline(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", OFFLINE, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={name: value for name, value in os.environ.items() if "APPROVAL" not in name},
    )


@pytest.mark.parametrize("name", ["approval-proxy", "servicenow", "jira"])
def test_the_examples_are_explained_offline_and_always_in_the_same_words(name: str) -> None:
    """No network, no store, no secret: `/run/secrets` is not there."""
    config = str(DEPLOY / f"{name}.yaml")
    ended = offline("explain", "--config", config, "--request", str(SAMPLE), "--json")
    assert ended.stderr == ""
    assert ended.returncode == 0
    golden = GOLDEN / f"{name}.json"
    again = f"explain --config {name}.yaml --request sample.json --json > {golden}"
    assert ended.stdout == golden.read_text(encoding="utf-8"), f"if that is right: {again}"


def test_what_goes_online_is_noticed(tmp_path: Path) -> None:
    """The negative control of the test above."""
    tree = settings()
    tree["ticket_systems"]["desk"]["auth"] = {"kind": "none"}
    del tree["ticket_systems"]["desk"]["events"]
    tree["witboost"]["main"]["credential"] = {"kind": "none"}
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    ended = offline("check", "--live", "--config", str(config))
    assert (ended.returncode, ended.stderr) == (99, "not offline: socket.getaddrinfo\n")


def test_every_kind_of_ticket_system_is_explained() -> None:
    texts = [json.loads(file.read_text(encoding="utf-8")) for file in GOLDEN.iterdir()]
    assert {text["ticket"]["kind"] for text in texts} == set(KINDS)
    assert all(text["ticket"]["calls"][-1]["purpose"] == "create" for text in texts)


@pytest.mark.parametrize(
    "sample", [{"respondToUrl": URL, "fields": FIELDS}, {"fields": FIELDS}, FIELDS]
)
def test_a_sample_is_a_whole_hook_call_or_its_fields(explain: Explain, sample: Any) -> None:
    code, shown = explain(sample)
    assert code == 0
    assert shown["request"]["resource_name"] == "Sales orders"
    assert ("respond_to" in shown["request"]) == ("respondToUrl" in sample)


ROUTES: Final = [
    {"name": "revokes", "when": "verb == 'revoke'", "decide": "approve", "reason": "Less is fine"},
    {"name": "hr", "when": "fields.cost > `9`", "decide": "reject", "reason": "Not by this way"},
    {"name": "finance", "when": "domain == 'finance'", "system": "desk"},
    {"name": "rest", "when": "fields.role", "system": "desk"},
]


def test_each_rule_says_why_it_applies_or_not(explain: Explain) -> None:
    _, shown = explain(FIELDS, settings(routes=ROUTES))
    assert shown["route"] == "finance"
    assert [(rule["found"], rule.get("because")) for rule in shown["rules"]] == [
        ("does not apply", 'finds false; verb is "grant"'),
        ("does not apply", "finds null; fields.cost is not there"),
        ("applies", 'finds true; domain is "finance"'),
        ("not looked at", None),
    ]


def test_a_route_that_decides_at_once_opens_no_ticket(explain: Explain) -> None:
    code, shown = explain({**FIELDS, "verb": "revoke"}, settings(routes=ROUTES))
    assert code == 0
    assert "ticket" not in shown
    (meaning,) = shown["decision"]
    assert meaning["callback"]["status"] == "OK"
    assert meaning["callback"]["hookInfo"]["comment"] == "Less is fine"


def test_a_request_that_no_route_takes_is_an_error(explain: Explain) -> None:
    code, shown = explain({"verb": "grant"}, settings(routes=ROUTES))
    assert (code, shown["ok"], shown["route"]) == (1, False, "unroutable")
    assert shown["problems"][0].startswith("No route applies to this request")
    code, said = explain({"verb": "grant"}, settings(routes=ROUTES), "--at", "2026-12-24")
    assert code == 1
    assert "! No route applies to this request" in str(said)


@pytest.mark.parametrize(
    ("sample", "problem"),
    [
        ("{", "body is not JSON"),
        ("[]", "body must be a JSON object"),
        ({"respondToUrl": URL}, "fields is missing"),
        ({"respondToUrl": 5, "fields": {}}, "respondToUrl must be a string"),
        ({"respondToUrl": "https://evil.example.com/1", "fields": {}}, "callback URLs"),
        ({"respondToUrl": URL, "fields": {"a": "x" * 300_000}}, "longer than 262144 bytes"),
    ],
)
def test_what_would_be_refused_says_why(explain: Explain, sample: Any, problem: str) -> None:
    code, shown = explain(sample)
    assert (code, shown["answer"]) == (1, 400)
    assert problem in " ".join(shown["problems"])
    _, said = explain(sample, settings(), "--at", "2026-12-24")
    assert problem in str(said)


@pytest.mark.parametrize(("on_refusal", "end"), [("dead", "given up"), ("fail", "KO")])
def test_what_does_not_fit_its_templates_says_where(
    explain: Explain, on_refusal: str, end: str
) -> None:
    tree = settings()
    tree["ticket_systems"]["desk"]["create"]["headers"] = {"X-Why": "{{ motivation }}"}
    tree["routes"][0]["on_refusal"] = on_refusal
    code, shown = explain({**FIELDS, "motivation": "für alle"}, tree)
    assert (code, shown["ok"]) == (1, False)
    problem, then = shown["problems"]
    assert "create.headers.X-Why" in problem
    assert end in then


def test_no_secret_is_shown_wherever_it_is_written(explain: Explain) -> None:
    tree = settings()
    tree["ticket_systems"]["desk"]["auth"] = {
        "kind": "header",
        "name": "Authorization",
        "value": "Token token-in-the-settings",
    }
    tree["ticket_systems"]["desk"]["secret_headers"] = {"X-Gateway-Key": "token-in-the-settings"}
    _, shown = explain(FIELDS, tree)
    (call,) = shown["ticket"]["calls"]
    assert call["headers"]["Authorization"] == call["headers"]["X-Gateway-Key"] == MASK
    _, said = explain(FIELDS, tree, "--at", "2026-12-24T18:00:00Z")
    assert "token-in-the-settings" not in f"{shown} {said}"


@pytest.mark.parametrize(
    ("auth", "shown"),
    [
        ({"scheme": "Zoho-oauthtoken"}, {"Authorization": f"Zoho-oauthtoken {MASK}"}),
        (
            {"dpop_key": {"key": {"file": "/nowhere/dpop.pem"}}},
            {"Authorization": f"DPoP {MASK}", "DPoP": MASK},
        ),
        (
            {"client_authentication": "private_key_jwt", "client_secret": None},
            {"Authorization": f"Bearer {MASK}"},
        ),
    ],
)
def test_no_secret_need_be_there_for_any_credential(
    explain: Explain, auth: dict[str, Any], shown: dict[str, str]
) -> None:
    """Nor for the store, the audit or an egress proxy: none of them is looked at."""
    nowhere = {"file": "/nowhere/secret"}
    tree = settings(
        encryption={"keys": [{"id": "k", "key": nowhere}], "index_key": nowhere},
        store={"redis_url": nowhere},
        outbound={"proxy": {"url": nowhere}},
    )
    changed = tree["ticket_systems"]["desk"]["auth"] | auth
    if auth.get("client_authentication"):
        changed = {name: it for name, it in changed.items() if name != "client_secret"}
        changed["client_keys"] = [{"key": nowhere}]
    changed["client_certificate"] = {"certificate": "/nowhere/tls.pem", "key": "/nowhere/tls.key"}
    tree["ticket_systems"]["desk"] |= {"auth": changed, "ca_file": "/nowhere/ca.pem"}
    tree["ticket_systems"]["desk"]["events"] = {
        "auth": "standard_webhooks",
        "ticket": "id",
        "secrets": [nowhere],
    }
    code, told = explain(FIELDS, tree)
    assert code == 0
    assert shown.items() <= told["ticket"]["calls"][-1]["headers"].items()


def test_a_ticket_shows_no_field_that_its_system_may_not_see(explain: Explain) -> None:
    tree = settings()
    tree["ticket_systems"]["desk"]["allowed_fields"] = [name for name in FIELDS if name != "verb"]
    _, shown = explain({**FIELDS, "motivation": "private", "verb": "revoke"}, tree)
    assert shown["ticket"]["hidden"] == ["verb"]
    assert shown["request"]["verb"] == "revoke"
    assert shown["ticket"]["calls"][-1]["body"]["title"].startswith("grant access")


def test_dates_are_real_where_a_time_is_given(explain: Explain) -> None:
    _, shown = explain(FIELDS, settings(), "--json", "--at", "2026-12-24T18:00:00Z")
    assert shown["deadlines"][0]["at"] == "2027-01-23T18:00:00Z"


def test_an_order_ends_with_the_order(explain: Explain) -> None:
    """What comes after it needs its answer, which nobody gives."""
    tree = yaml.safe_load((DEPLOY / "servicenow.yaml").read_text(encoding="utf-8"))
    tree["ticket_systems"]["servicenow"]["order"] = {
        "item": "4f1c6c1ec611227801d46acb6b8e8dd3",
        "variables": {"reason": "{{ motivation }}"},
        "correlation_variable": "approval_proxy_id",
    }
    _, shown = explain(FIELDS, tree)
    last = shown["ticket"]["calls"][-1]
    assert (last["purpose"], last["method"]) == ("create", "POST")
    assert last["body"]["variables"] == {
        "reason": FIELDS["motivation"],
        "approval_proxy_id": shown["request"]["correlation_id"],
    }


def test_a_person_reads_the_same(explain: Explain) -> None:
    _, said = explain(FIELDS, settings(), "--at", "2026-12-24T18:00:00Z")
    for line in (
        "The route: default",
        "  POST https://desk.example.com/api/tickets",
        f"  Authorization: Bearer {MASK}",
        "  approved     approved   OK: The request was approved (ticket <ticket key>).",
        "  <any other>  -          taken for pending, with the alarm unknown_native_status",
    ):
        assert line in str(said).splitlines()
    assert "(2027-01-23T18:00:00Z)" in str(said)


def test_a_file_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    config = str(DEPLOY / "approval-proxy.yaml")
    assert main(["explain", "--config", config, "--request", "/nowhere/sample.json"]) == 1
    assert "/nowhere/sample.json cannot be read" in capsys.readouterr().err


def test_what_ends_a_jira_request_without_an_approval_is_shown(explain: Explain) -> None:
    tree = yaml.safe_load((DEPLOY / "jira.yaml").read_text(encoding="utf-8"))
    code, shown = explain({"fields": FIELDS}, tree)
    assert code == 0
    meant = {row["native"]: row["outcome"] for row in shown["decision"]}
    assert meant["Canceled"] == "cancelled"
    assert meant["declined"] == "rejected"
