"""`approval-proxy explain`: what the program would do with a hook call, without any call."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import click
import orjson

from proxy.cli.explain.explanation import explain_call, sample_of
from proxy.cli.options import FILE, Parsed, config_option
from proxy.cli.output import one_line, print_json, print_table
from proxy.cli.sample import read_bytes
from proxy.domain.clock import SystemClock
from proxy.settings import load

_METHODS: Final = {"auto": "PUT, PATCH or POST, whichever it takes"}
_GUARDS: Final = {
    "selfApproval": "by the requester, or by somebody who gets the access",
    "unknownApprover": "by somebody who may be one of those",
    "changedFields": "of a ticket whose key fields were changed",
}
_LISTED: Final = {"ownAccounts": "by our own account:", "approverGroups": "for none of the groups"}


def _timestamp(text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a time such as 2026-12-24T18:00:00Z") from None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()) * 1_000


@click.command()
@config_option
@click.option(
    "--request",
    type=FILE,
    required=True,
    help="The hook call as JSON, or only its `fields`.",
)
@click.option(
    "--at",
    type=Parsed(_timestamp, "TIME"),
    help="The time of the call, such as 2026-12-24T18:00:00Z (default: now; with --json: undated).",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print JSON for golden files: the same settings make the same text.",
)
def explain(config: Path | None, request: Path, at: int | None, *, as_json: bool) -> int:
    """Explain how a hook call would be processed, offline: its route and why, the HTTP request that
    would create its ticket, its deadlines and guards, and the effect of each status.

    Calls no system, opens no store and reads no secret. Exit code 1: the hook call would be
    refused, or a person would have to look.
    """
    settings = load(config, os.environ, secrets=False)
    sample = sample_of(read_bytes(request), settings)
    if at is None and not as_json:
        at = SystemClock().now()
    explanation = asyncio.run(explain_call(settings, sample, at=at))
    if as_json:
        print_json(explanation)
    else:
        _print(explanation)
    return 0 if explanation["ok"] else 1


def _print(explanation: Mapping[str, Any]) -> None:
    if explanation["answer"] != HTTPStatus.ACCEPTED:
        _print_refusal(explanation)
        return
    click.echo(f"The request, from witboost {explanation['witboost']}")
    fields = [(name, one_line(value)) for name, value in explanation["request"].items()]
    print_table(fields, indent=2)
    click.echo(f"\nThe route: {explanation['route']}")
    print_table(map(_rule, explanation["rules"]), indent=2)
    if "ticket" in explanation:
        _print_ticket(explanation["ticket"])
    for problem in explanation.get("problems", ()):
        click.echo(f"  ! {problem}")
    click.echo("\nDeadlines")
    print_table(map(_deadline, explanation["deadlines"]), indent=2)
    if "guards" in explanation:
        click.echo("\nGuards: an approval is held for an operator")
        _print_guards(explanation["guards"])
    for name in ("decision", "fulfilment"):
        if name in explanation:
            click.echo(f"\nThe effect of each status on the {name}")
            print_table([_status(row, name) for row in explanation[name]], indent=2)
    _print_callbacks(explanation)


def _print_refusal(explanation: Mapping[str, Any]) -> None:
    click.echo(f"The hook call would be answered {explanation['answer']}, and nothing stored:")
    for problem in explanation["problems"]:
        click.echo(f"  {problem}")
    if any(problem.startswith("respondToUrl") for problem in explanation["problems"]):
        click.echo("Remove respondToUrl from the file to explain its fields alone.")


def _print_callbacks(explanation: Mapping[str, Any]) -> None:
    """Print the target of callbacks, and one body as an example; `--json` has them all."""
    bodies = [explanation["announcement"]] if "announcement" in explanation else []
    rows = (*explanation["decision"], *explanation.get("fulfilment", ()))
    bodies += [row["callback"] for row in rows if "callback" in row][:1]
    target = explanation["callback"]
    method = _METHODS.get(target["method"], target["method"])
    click.echo(f"\nCallbacks: {method} {target['url']}\n")
    for body in bodies:
        _print_body(body)


def _rule(rule: Mapping[str, Any]) -> Sequence[str]:
    reasons = [rule["when"] or "", rule.get("because", "")]
    return rule["route"], rule["found"], " ".join(filter(None, reasons))


def _print_ticket(ticket: Mapping[str, Any]) -> None:
    click.echo(f"\nThe ticket, in {ticket['system']} ({ticket['kind']})")
    if "hidden" in ticket:
        click.echo(f"  Hidden from it: {', '.join(map(one_line, ticket['hidden']))}")
    for number, call in enumerate(ticket["calls"]):
        if number:
            click.echo()
        note = "" if call["purpose"] == "create" else "   (a look-up; here it finds nothing)"
        click.echo(f"  {call['method']} {call['url']}{note}")
        for name, value in call["headers"].items():
            click.echo(f"  {name}: {value}")
        if "body" in call:
            click.echo()
            _print_body(call["body"])


def _deadline(deadline: Mapping[str, Any]) -> Sequence[str]:
    date = f" ({deadline['at']})" if "at" in deadline else ""
    return (
        deadline["clock"],
        f"{deadline['within']} after {deadline['since']}{date}",
        f"then: {deadline['then']}",
    )


def _print_guards(guards: Mapping[str, Any]) -> None:
    """Print each guard that is in force, then the people with whom approvers are compared."""
    for name, text in _GUARDS.items():
        if guards[name] == "hold":
            click.echo(f"  {text}")
    for name, text in _LISTED.items():
        if guards[name]:
            click.echo(f"  {text} {', '.join(guards[name])}")
    print_table([(one_line(name), who) for name, who in guards["people"].items()], indent=2)


def _status(row: Mapping[str, Any], name: str) -> Sequence[str]:
    outcome = row["outcome" if name == "decision" else "fulfilment"] or "-"
    effect = row["then"]
    if "callback" in row:
        effect = f"{row['callback']['status']}: {row['callback']['hookInfo']['message']}"
    return row["native"] or "(no ticket)", outcome, effect


def _print_body(body: Any) -> None:
    """Print a body in several lines; a body that is not JSON is printed unchanged."""
    if not isinstance(body, str):
        body = orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()
    for line in body.splitlines():
        click.echo(f"  {line}")
