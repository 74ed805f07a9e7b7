"""`approval-proxy keys new`: a key for a client, for encryption or signing, and its settings."""

import argparse
import sys
from datetime import date
from typing import Final

from proxy.cli.options import Subparsers
from proxy.security import key_ring
from proxy.security.api_keys import hash_key, new_key
from proxy.security.signing import new_signing_key

_ENCRYPTION: Final = """\
Key that encrypts tokens and payloads in the store, shown this once (whoever has it and the store
can read them; keep it in a secret store, and a copy in a safe place):
{key}

For the settings; a new key goes first, the former ones stay below it. With a redis_url, index_key
is another such key: requests are found by it, so it changes only by `store export` and `import`.
encryption:
  keys:
    - {{id: key1, key: {{file: /run/secrets/encryption-key}}}}
"""


_SIGNING: Final = """\
Key that signs the audit and decision receipts, shown this once (whoever has it can forge them; keep
it in a secret store):
{key}

For the settings; a new key goes first, the former ones may go once it has signed:
signing:
  keys:
    - {{file: /run/secrets/signing-key.json}}
"""


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser("keys", help="make keys for clients, operators and encryption")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    new = actions.add_parser(
        "new",
        help="print a new key, once, and its hash for the settings",
        description="Prints a new key, which is kept nowhere, and its hash for the settings.",
    )
    new.add_argument("--name", default="client", help="who will use the key (default: client)")
    new.add_argument(
        "--encryption",
        action="store_true",
        help="make a key that encrypts secrets in the store instead",
    )
    new.add_argument(
        "--signing", action="store_true", help="make a key that signs audit and receipts instead"
    )
    new.add_argument("--expires", type=_day, help="the last day on which the key is good")
    new.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a new key and the line for `clients` that lets its bearer in."""
    if arguments.encryption:
        sys.stdout.write(_ENCRYPTION.format(key=key_ring.new_key()))
        return 0
    if arguments.signing:
        sys.stdout.write(_SIGNING.format(key=new_signing_key()))
        return 0
    key = new_key()
    line = f'"{hash_key(key)}"'
    if arguments.expires:
        line = f"{{hash: {line}, expires: {arguments.expires}}}"
    sys.stdout.write(
        f"Key for {arguments.name}, shown this once "
        "(sent as `X-API-Key: <key>` or `Authorization: Bearer <key>`):\n"
        f"{key}\n\n"
        "For the settings, under witboost.<instance>.clients or operators.clients:\n"
        f"{arguments.name}: {{keys: [{line}]}}\n"
    )
    return 0


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a day such as 2027-01-31") from None
