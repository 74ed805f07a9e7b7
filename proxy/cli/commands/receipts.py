"""`approval-proxy receipts`: fetch the receipt of a decision, and verify receipts offline."""

import argparse
import asyncio
import sys
from pathlib import Path

import orjson

from proxy.app.offline import open_for_doctor
from proxy.app.open_store import open_audit_keys
from proxy.audit.files import files_in
from proxy.audit.receipts import RECEIPT, Receipts, sha256
from proxy.audit.replay import recall
from proxy.cli.options import Subparsers, add_config, settings_of
from proxy.cli.program import add_program, program_of
from proxy.errors import ConfigurationError, NotFoundError
from proxy.security.signing import Verifier
from proxy.settings import Settings


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser("receipts", help="signed receipts of decisions")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    get = actions.add_parser("get", help="print the receipt of a decided request")
    get.add_argument("id", metavar="ID", help="the correlation id of the request")
    get.set_defaults(run=run_get)
    issue = actions.add_parser(
        "issue",
        help="print the receipt of a request whose retention is over, from the audit",
        description="Issues a receipt from the audit's files, with the store's keys: the request"
        " itself may be gone. What it says is what the audit, whose heads are signed, holds.",
    )
    issue.add_argument("id", metavar="ID", help="the correlation id of the request")
    add_config(issue)
    issue.set_defaults(run=run_issue)
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


def run_issue(arguments: argparse.Namespace) -> int:
    """Print a receipt that the audit's files make."""
    sys.stdout.write(f"{asyncio.run(_issue(settings_of(arguments), arguments.id))}\n")
    return 0


async def _issue(settings: Settings, request: str) -> str:
    files = files_in(settings.audit_folder)
    async with open_for_doctor(settings, publish=False) as (store, _systems):
        remembered = recall(file.lines() for file in files).get(request)
        entry = remembered.entry(store) if remembered else None
        if entry is None:
            raise NotFoundError(f"the audit knows no request {request}, or too little of it")
        seals = await open_audit_keys(settings, store)
        return Receipts(seals.signer, settings.public_url).issue(entry)


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
