"""Runs one simulator as a process of its own: `python -m proxy.demo.serve desk`, for example.

The first line on standard output says where it listens, as JSON; SIGTERM or SIGINT ends it.
Secrets come from the environment only, as a command line can be read by everybody.
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
from proxy.simulators.credentials import Anyone, Check, ServiceAccount, SharedSecret, StaticBearer
from proxy.simulators.desk.server import Desk
from proxy.simulators.jira.server import Jira
from proxy.simulators.server import Serving, Simulator
from proxy.simulators.servicenow.server import ServiceNow
from proxy.simulators.witboost import Witboost

SECRETS = """\
environment:
  DESK_CLIENT_ID, DESK_CLIENT_SECRET  the OAuth2 client that the ticket system knows
  DESK_EVENT_SECRET                   signs the ticket system's events
  WITBOOST_API_KEY                    X-API-Key of the hook calls, if set
  WITBOOST_CALLBACK_SECRET            access token, shared secret or bearer that callbacks prove
"""


NAMED: Mapping[str, type[ServiceNow | Jira]] = {"servicenow": ServiceNow, "jira": Jira}
"""The simulators of products; each is started in the same way."""


def arguments() -> argparse.ArgumentParser:
    """Describe the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--host", default="127.0.0.1", help="address to listen on")
    common.add_argument("--port", type=int, default=0, help="port to listen on; 0: a free one")
    common.add_argument("--public-url", help="how others reach it, if not by host and port")
    common.add_argument("--journal", type=Path, help="file for its journal, JSON lines")
    common.add_argument("--seed", type=int, default=0, help="of the faults with a probability")
    parser = argparse.ArgumentParser(
        prog="python -m proxy.demo.serve",
        description="Run a simulator.",
        epilog=SECRETS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    simulators = parser.add_subparsers(dest="simulator", required=True)
    desk = simulators.add_parser("desk", parents=[common], help="the ticket desk")
    desk.add_argument("--events-to", help="where events are sent; none without it")
    desk.add_argument("--announce-created", action="store_true", help="an event per creation too")
    desk.add_argument("--honour-idempotency-key", action="store_true")
    desk.add_argument("--expires-in", type=int, default=3600, help="seconds a token lives")
    desk.add_argument("--auto-decide", default="", help="decisions in turn: approved,rejected")
    desk.add_argument("--auto-decide-after", type=float, default=0, help="seconds")
    for name in NAMED:
        named = simulators.add_parser(name, parents=[common], help=NAMED[name].__name__)
        named.add_argument("--events-to", help="where events are sent; none without it")
    witboost = simulators.add_parser("witboost", parents=[common], help="a witboost instance")
    witboost.add_argument("--hook-url", help="where hook calls are sent")
    witboost.add_argument("--methods", default="PUT", help="that update a hook: PUT,PATCH,POST")
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
    """Build what the command line chose; raises KeyError naming a missing variable."""
    serving: Serving = {
        "host": chosen.host,
        "port": chosen.port,
        "public_url": chosen.public_url,
        "journal_file": chosen.journal,
        "seed": chosen.seed,
    }
    if chosen.simulator == "desk":
        return Desk(
            client_id=environment["DESK_CLIENT_ID"],
            client_secret=environment["DESK_CLIENT_SECRET"],
            event_secret=environment["DESK_EVENT_SECRET"],
            events_to=chosen.events_to,
            announce_created=chosen.announce_created,
            honour_idempotency_key=chosen.honour_idempotency_key,
            expires_in=chosen.expires_in,
            auto_decide=[word for word in chosen.auto_decide.split(",") if word],
            auto_decide_after=chosen.auto_decide_after,
            **serving,
        )
    if chosen.simulator in NAMED:
        return NAMED[chosen.simulator](
            client_id=environment["DESK_CLIENT_ID"],
            client_secret=environment["DESK_CLIENT_SECRET"],
            event_secret=environment["DESK_EVENT_SECRET"],
            events_to=chosen.events_to,
            **serving,
        )
    return Witboost(
        hook_url=chosen.hook_url,
        api_key=environment.get("WITBOOST_API_KEY"),
        check=check_of(chosen.credential, environment),
        methods=chosen.methods.split(","),
        wrong_method=chosen.wrong_method,
        adopt_unknown_hooks=chosen.adopt_unknown_hooks,
        **serving,
    )


def check_of(credential: str, environment: Mapping[str, str]) -> Check:
    """Build the check of callbacks; raises KeyError naming a missing variable."""
    if credential == "none":
        return Anyone()
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


def main(words: Sequence[str] | None = None) -> None:
    """Run the simulator that the command line names."""
    chosen = arguments().parse_args(words)
    uvloop.run(_build_and_serve(chosen))


async def _build_and_serve(chosen: argparse.Namespace) -> None:
    try:
        simulator = simulator_of(chosen, os.environ)
    except KeyError as error:
        sys.exit(f"set the environment variable {error.args[0]}")
    await serve(simulator)


if __name__ == "__main__":
    main()
