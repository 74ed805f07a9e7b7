"""Runs one simulator in its own process, for example `python -m proxy.demo.serve desk`.

The first line on standard output is JSON with its URL; SIGTERM or SIGINT ends it. Secrets come
only from the environment, because every user of a machine can read command lines.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import uvloop

from proxy.domain.clock import SystemClock
from proxy.simulators.credentials import Check, NoCheck, ServiceAccount, SharedSecret, StaticBearer
from proxy.simulators.desk.server import Desk
from proxy.simulators.jira.server import Jira
from proxy.simulators.server import ServerOptions, Simulator
from proxy.simulators.servicenow.server import ServiceNow
from proxy.simulators.ticket_system import TicketSystemOptions
from proxy.simulators.witboost import Witboost

SECRETS = """\
environment:
  DESK_CLIENT_ID, DESK_CLIENT_SECRET  the OAuth2 client of the ticket system
  DESK_EVENT_SECRET                   the secret that signs the ticket system's events
  WITBOOST_API_KEY                    X-API-Key of the hook calls, if set
  WITBOOST_CALLBACK_SECRET            access token, shared secret or bearer token of callbacks
"""

PRODUCTS: Mapping[str, type[ServiceNow | Jira]] = {"servicenow": ServiceNow, "jira": Jira}
"""The simulators of products; all have the same options."""


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--host", default="127.0.0.1", help="address to listen on")
    common.add_argument("--port", type=int, default=0, help="port to listen on; 0: a free one")
    common.add_argument("--public-url", help="URL for clients, if it differs from host and port")
    common.add_argument("--journal", type=Path, help="journal file (JSON lines)")
    common.add_argument("--seed", type=int, default=0, help="seed for faults with a probability")
    parser = argparse.ArgumentParser(
        prog="python -m proxy.demo.serve",
        description="Run a simulator.",
        epilog=SECRETS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    simulators = parser.add_subparsers(dest="simulator", required=True)
    tickets = argparse.ArgumentParser(add_help=False, parents=[common])
    tickets.add_argument("--events-to", help="URL that events are sent to; none without it")
    tickets.add_argument("--expires-in", type=int, default=3600, help="seconds a token is valid")
    desk = simulators.add_parser("desk", parents=[tickets], help="the ticket desk")
    desk.add_argument("--announce-created", action="store_true", help="send events of creations")
    desk.add_argument("--honour-idempotency-key", action="store_true")
    desk.add_argument("--auto-decide", default="", help="decisions in turn: approved,rejected")
    desk.add_argument("--auto-decide-after", type=float, default=0, help="seconds")
    for name in PRODUCTS:
        simulators.add_parser(name, parents=[tickets], help=PRODUCTS[name].__name__)
    witboost = simulators.add_parser("witboost", parents=[common], help="a witboost instance")
    witboost.add_argument("--hook-url", help="URL that hook calls are sent to")
    witboost.add_argument("--methods", default="PUT", help="methods of updates: PUT,PATCH,POST")
    witboost.add_argument("--wrong-method", type=int, choices=(404, 405), default=404)
    witboost.add_argument(
        "--credential",
        choices=("none", "static_bearer", "shared_secret", "access_token"),
        default="none",
        help="how callbacks authenticate",
    )
    witboost.add_argument("--adopt-unknown-hooks", action="store_true")
    return parser


def simulator_of(chosen: argparse.Namespace, environment: Mapping[str, str]) -> Simulator:
    """Return the chosen simulator; raises KeyError with the name of a missing variable."""
    serving: ServerOptions = {
        "host": chosen.host,
        "port": chosen.port,
        "public_url": chosen.public_url,
        "journal_file": chosen.journal,
        "seed": chosen.seed,
    }
    if chosen.simulator == "witboost":
        return Witboost(
            hook_url=chosen.hook_url,
            api_key=environment.get("WITBOOST_API_KEY"),
            check=check_of(chosen.credential, environment),
            methods=chosen.methods.split(","),
            wrong_method=chosen.wrong_method,
            adopt_unknown_hooks=chosen.adopt_unknown_hooks,
            **serving,
        )
    options: TicketSystemOptions = {
        "client_id": environment["DESK_CLIENT_ID"],
        "client_secret": environment["DESK_CLIENT_SECRET"],
        "event_secret": environment["DESK_EVENT_SECRET"],
        "events_to": chosen.events_to,
        "expires_in": chosen.expires_in,
        **serving,
    }
    if chosen.simulator == "desk":
        return Desk(
            announce_created=chosen.announce_created,
            honour_idempotency_key=chosen.honour_idempotency_key,
            auto_decide=[decision for decision in chosen.auto_decide.split(",") if decision],
            auto_decide_after=chosen.auto_decide_after,
            **options,
        )
    return PRODUCTS[chosen.simulator](**options)


def check_of(credential: str, environment: Mapping[str, str]) -> Check:
    """Return the check of callbacks; raises KeyError with the name of a missing variable."""
    if credential == "none":
        return NoCheck()
    secret = environment["WITBOOST_CALLBACK_SECRET"]
    if credential == "static_bearer":
        return StaticBearer(secret)
    if credential == "shared_secret":
        return SharedSecret(secret)
    return ServiceAccount(secret, SystemClock())


async def serve(simulator: Simulator) -> None:
    """Run until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with simulator:
        listening = {"simulator": type(simulator).__name__.lower(), "url": simulator.url}
        sys.stdout.write(f"{orjson.dumps(listening).decode()}\n")
        sys.stdout.flush()
        await ended.wait()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the simulator that the command line names."""
    chosen = arguments().parse_args(argv)
    uvloop.run(_build_and_serve(chosen))


async def _build_and_serve(chosen: argparse.Namespace) -> None:
    try:
        simulator = simulator_of(chosen, os.environ)
    except KeyError as error:
        sys.exit(f"set the environment variable {error.args[0]}")
    await serve(simulator)


if __name__ == "__main__":
    main()
