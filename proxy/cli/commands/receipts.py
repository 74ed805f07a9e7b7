"""`approval-proxy receipts`: fetch the receipt of a decision, and verify receipts offline."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from proxy.app.keys import open_audit_keys
from proxy.app.offline import open_for_doctor
from proxy.audit.files import files_in
from proxy.audit.receipts import RECEIPT, Receipts, sha256
from proxy.audit.replay import replay
from proxy.cli.client import Connect, api_options
from proxy.cli.options import FILE, config_option
from proxy.cli.output import print_json
from proxy.cli.sample import read_bytes
from proxy.errors import NotFoundError
from proxy.security.signing import Verifier
from proxy.settings import Settings, load

_id_argument: Final = click.argument(
    "correlation_id", metavar="ID", help="The correlation id of the request."
)


@click.group()
def receipts() -> None:
    """Print and verify signed receipts of decisions."""


@receipts.command()
@_id_argument
@api_options
def get(correlation_id: str, connect: Connect) -> int:
    """Print the receipt of a decided request."""
    click.echo(connect().get("requests", correlation_id, "receipt")["receipt"])
    return 0


@receipts.command()
@_id_argument
@config_option
def issue(correlation_id: str, config: Path | None) -> int:
    """Print the receipt of a request after its retention, from the audit.

    The receipt is made from the audit's files, whose heads are signed, with the store's keys.
    """
    click.echo(asyncio.run(_issue(load(config, os.environ), correlation_id)))
    return 0


async def _issue(settings: Settings, correlation_id: str) -> str:
    files = files_in(settings.audit_folder)
    async with open_for_doctor(settings, publish=False) as (store, _systems):
        audited = replay(file.lines() for file in files).get(correlation_id)
        entry = audited.entry(store) if audited else None
        if entry is None:
            raise NotFoundError(f"the audit knows no request {correlation_id}, or too little of it")
        keys = await open_audit_keys(settings, store)
        return Receipts(keys.signer, settings.public_url).issue(entry)


@receipts.command()
@api_options
def keys(connect: Connect) -> int:
    """Print the public keys with which receipts are verified."""
    print_json(connect().get("signing-keys"))
    return 0


@receipts.command()
@click.argument("files", nargs=-1, type=FILE, required=True, metavar="FILE...", help="Receipts.")
@click.option(
    "--keys",
    "keys_file",
    type=FILE,
    required=True,
    help="Public keys that you trust: the output of `receipts keys`, or keys.json.",
)
@click.option(
    "--request",
    type=FILE,
    help="The body of the hook call as it was sent, to be compared as well.",
)
def verify(files: Sequence[Path], keys_file: Path, request: Path | None) -> int:
    """Verify receipts offline, and print their contents."""
    verifier = Verifier.of(read_bytes(keys_file))
    digest = sha256(read_bytes(request)) if request else ""
    return max([_verify(verifier, file, digest) for file in files])


def _verify(verifier: Verifier, file: Path, digest: str) -> int:
    try:
        content = verifier.open(read_bytes(file).decode("ascii", "replace").strip(), kind=RECEIPT)
    except ValueError as error:
        click.echo(f"{file}: NOT VALID: {error}")
        return 1
    if digest and content.get("asked", {}).get("sha256") != digest:
        click.echo(f"{file}: NOT VALID: it is the receipt of another hook call")
        return 1
    click.echo(f"{file}: valid")
    print_json(content)
    return 0
