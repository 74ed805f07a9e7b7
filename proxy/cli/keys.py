"""`approval-proxy keys new`: a key for a client, and the line that goes into the settings."""

import argparse
import sys

from proxy.cli.options import Subparsers
from proxy.domain.api_keys import hash_key, new_key


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser("keys", help="make keys for clients and operators")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    new = actions.add_parser(
        "new",
        help="print a new key, once, and its hash for the settings",
        description="Prints a new key, which is kept nowhere, and its hash for the settings.",
    )
    new.add_argument("--name", default="client", help="who will use the key (default: client)")
    new.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a new key and the line for `clients` that lets its bearer in."""
    key = new_key()
    sys.stdout.write(
        f"Key for {arguments.name}, shown this once "
        "(sent as `X-API-Key: <key>` or `Authorization: Bearer <key>`):\n"
        f"{key}\n\n"
        "For the settings, under witboost.<instance>.clients or operators.clients:\n"
        f'{arguments.name}: {{keys: ["{hash_key(key)}"]}}\n'
    )
    return 0
