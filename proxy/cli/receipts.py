"""`approval-proxy receipts`: fetch the receipt of a decision, and verify receipts offline."""

import argparse
import sys
from pathlib import Path

import orjson

from proxy.cli.options import Subparsers
from proxy.cli.program import add_program, program_of
from proxy.errors import ConfigurationError
from proxy.receipts import RECEIPT, sha256
from proxy.signing import Verifier


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser("receipts", help="signed receipts of decisions")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    get = actions.add_parser("get", help="print the receipt of a decided request")
    get.add_argument("id", metavar="ID", help="the correlation id of the request")
    get.set_defaults(run=run_get)
    keys = actions.add_parser("keys", help="print the public keys, to be kept for verifying")
    keys.set_defaults(run=run_keys)
    for asking in (get, keys):
        add_program(asking)
    verify = actions.add_parser(
        "verify",
        help="verify receipts offline, and print what they say",
        description="Verifies receipts with public keys that you trust, and prints what they say."
        " With --request it also compares the hook call that was sent then.",
    )
    verify.add_argument("receipt", type=Path, nargs="+", metavar="FILE", help="a receipt")
    verify.add_argument(
        "--keys", type=Path, required=True, help="what `receipts keys` printed, or keys.json"
    )
    verify.add_argument(
        "--request", type=Path, metavar="FILE", help="the body of the hook call, as it was sent"
    )
    verify.set_defaults(run=run_verify)


def run_get(arguments: argparse.Namespace) -> int:
    """Print a receipt on one line."""
    answer = program_of(arguments).get(arguments.id, "receipt")
    sys.stdout.write(f"{answer['receipt']}\n")
    return 0


def run_keys(arguments: argparse.Namespace) -> int:
    """Print the JWK set of every key that ever signed."""
    keys = program_of(arguments).signing_keys()
    sys.stdout.write(orjson.dumps(keys, option=orjson.OPT_INDENT_2).decode() + "\n")
    return 0


def run_verify(arguments: argparse.Namespace) -> int:
    """Print each receipt's content or what is wrong with it; 1 if anything is wrong."""
    verifier = Verifier.of(_content(arguments.keys))
    asked = sha256(_content(arguments.request)) if arguments.request else ""
    return max(_verify(verifier, file, asked) for file in arguments.receipt)


def _verify(verifier: Verifier, file: Path, asked: str) -> int:
    try:
        content = verifier.open(_content(file).decode("ascii", "replace").strip(), kind=RECEIPT)
    except ValueError as error:
        sys.stdout.write(f"{file}: NOT VALID: {error}\n")
        return 1
    if asked and content.get("asked", {}).get("sha256") != asked:
        sys.stdout.write(f"{file}: NOT VALID: it is the receipt of another hook call\n")
        return 1
    said = orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()
    sys.stdout.write(f"{file}: valid\n{said}\n")
    return 0


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
