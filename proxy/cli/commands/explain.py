"""`approval-proxy explain`: what the program would do with a hook call, without calling anybody."""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from proxy.cli.explain.explanation import explained, sample_of
from proxy.cli.options import Subparsers, add_config
from proxy.cli.output import one_line
from proxy.cli.sample import content_of
from proxy.domain.clock import SystemClock
from proxy.settings import load

_METHODS: Final = {"auto": "PUT, PATCH or POST, whichever it takes"}
_GUARDS: Final = {
    "selfApproval": "by the requester, or by somebody who gets the access",
    "unknownApprover": "by somebody who cannot be told from those",
    "changedFields": "of a ticket whose key fields were changed",
}
_LISTED: Final = {"ownAccounts": "by our own account:", "approverGroups": "for none of the groups"}


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "explain",
        help="say what would be done with a hook call, offline",
        description="Says which route a hook call takes and why, the HTTP request that would open"
        " its ticket, its deadlines and guards, and what each status would lead to. Calls nobody,"
        " opens no store and reads no secret. Exit code 1: it would be refused, or a person would"
        " have to look.",
    )
    add_config(parser)
    parser.add_argument(
        "--request",
        type=Path,
        required=True,
        metavar="FILE",
        help="the hook call as JSON, or only its `fields`",
    )
    parser.add_argument(
        "--at",
        type=_moment,
        metavar="TIME",
        help="when it comes in, such as 2026-12-24T18:00:00Z (default: now; with --json: undated)",
    )
    parser.add_argument(
        "--json", action="store_true", help="for golden files: the same settings, the same text"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation; 0 if the request would go its way without a person.

    Raises:
        ConfigurationError: the settings or the file cannot be used.
    """
    settings = load(arguments.config, os.environ, secrets=False)
    content = content_of(arguments.request)
    at = arguments.at
    if at is None and not arguments.json:
        at = SystemClock().now()
    shown = asyncio.run(explained(settings, sample_of(content, settings), at=at))
    if arguments.json:
        sys.stdout.write(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in render(shown))
    return 0 if shown["ok"] else 1


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a time such as 2026-12-24T18:00:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 1_000


def render(shown: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that a person reads."""
    if shown["answer"] != 202:  # noqa: PLR2004 - accepted (RFC 9110 15.3.3)
        yield f"The hook call would be answered {shown['answer']}, and nothing stored:"
        yield from (f"  {problem}" for problem in shown["problems"])
        if any(problem.startswith("respondToUrl") for problem in shown["problems"]):
            yield "Without respondToUrl in the file, what its fields would lead to is explained."
        return
    yield f"The request, from witboost {shown['witboost']}"
    yield from _aligned([(name, one_line(value)) for name, value in shown["request"].items()])
    yield from ("", f"The route: {shown['route']}")
    yield from _aligned([_rule(rule) for rule in shown["rules"]])
    if "ticket" in shown:
        yield from _ticket(shown["ticket"])
    yield from (f"  ! {problem}" for problem in shown.get("problems", ()))
    yield from ("", "Deadlines")
    yield from _aligned([_deadline(each) for each in shown["deadlines"]])
    if "guards" in shown:
        yield from ("", "Guards: an approval is held for an operator")
        yield from _guards(shown["guards"])
    for name in ("decision", "fulfilment"):
        if name in shown:
            yield from ("", f"What each status means for the {name}")
            yield from _aligned([_meaning(row, name) for row in shown[name]])
    yield from _callback(shown)


def _callback(shown: Mapping[str, Any]) -> Iterator[str]:
    """Yield where witboost is called back, and a whole body; `--json` has them all."""
    bodies = [shown["announcement"]] if "announcement" in shown else []
    rows = (*shown["decision"], *shown.get("fulfilment", ()))
    bodies += [row["callback"] for row in rows if "callback" in row][:1]
    to = shown["callback"]
    method = _METHODS.get(to["method"], to["method"])
    yield from ("", f"Callbacks: {method} {to['url']}", "")
    for body in bodies:
        yield from _json(body)


def _rule(rule: Mapping[str, Any]) -> Sequence[str]:
    why = [rule["when"] or "", rule.get("because", "")]
    return rule["route"], rule["found"], " ".join(filter(None, why))


def _ticket(ticket: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"The ticket, in {ticket['system']} ({ticket['kind']})")
    if "hidden" in ticket:
        yield f"  It may not see: {', '.join(map(one_line, ticket['hidden']))}"
    for number, call in enumerate(ticket["calls"]):
        yield from [""] * bool(number)
        asks = "" if call["purpose"] == "create" else "   (only asks; here nothing is found)"
        yield f"  {call['method']} {call['url']}{asks}"
        yield from (f"  {name}: {value}" for name, value in call["headers"].items())
        if "body" in call:
            yield ""
            yield from _json(call["body"])


def _deadline(clock: Mapping[str, Any]) -> Sequence[str]:
    date = f" ({clock['at']})" if "at" in clock else ""
    return (
        clock["clock"],
        f"{clock['within']} after {clock['since']}{date}",
        f"then: {clock['then']}",
    )


def _guards(guards: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each guard that holds something, then whom approvers are compared with."""
    for name, words in _GUARDS.items():
        if guards[name] == "hold":
            yield f"  {words}"
    for name, words in _LISTED.items():
        if guards[name]:
            yield f"  {words} {', '.join(guards[name])}"
    yield from _aligned([(one_line(person), known) for person, known in guards["people"].items()])


def _meaning(row: Mapping[str, Any], name: str) -> Sequence[str]:
    told = row["outcome" if name == "decision" else "fulfilment"] or "-"
    then = row["then"]
    if "callback" in row:
        then = f"{row['callback']['status']}: {row['callback']['hookInfo']['message']}"
    return row["native"] or "(no ticket)", told, then


def _json(body: Any) -> Iterator[str]:
    """Yield a body over several lines; what is no JSON as it is."""
    if not isinstance(body, str):
        body = orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()
    yield from (f"  {line}" for line in body.splitlines())


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()
