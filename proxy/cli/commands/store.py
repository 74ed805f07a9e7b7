"""`approval-proxy store`: export and import everything, to change the index key above all."""

import argparse
import asyncio
import os
import socket
import sys
from pathlib import Path

from proxy.app.offline import open_stopped_store
from proxy.cli.options import Subparsers, add_config, settings_of
from proxy.maintenance.export import export_store, import_store
from proxy.maintenance.export_file import Head
from proxy.settings import Settings


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser("store", help="export and import the whole store")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    out = actions.add_parser(
        "export",
        help="write everything into an encrypted file, while no service runs",
        description="Writes everything that the store keeps into one new file, encrypted with"
        " encryption.keys: requests with their ids, tickets and histories, refresh tokens, signing"
        " keys, the state of the audit. No service may run.",
    )
    out.add_argument("file", type=Path, metavar="FILE", help="the file to make")
    add_config(out)
    out.set_defaults(run=run_export)
    back = actions.add_parser(
        "import",
        help="write an export into an empty namespace, under the index key of the settings",
        description="Writes an export into store.namespace, under the encryption.index_key of the"
        " settings. The whole file is verified before anything is written; an import that was"
        " interrupted is done again from its beginning. No service may run.",
    )
    back.add_argument("file", type=Path, metavar="FILE", help="what `store export` made")
    back.add_argument(
        "--replace",
        action="store_true",
        help="remove the store that was exported first; refused if it changed since",
    )
    add_config(back)
    back.set_defaults(run=run_import)


def run_export(arguments: argparse.Namespace) -> int:
    """Export; raises ProxyError, and then there is no file."""
    settings, path = settings_of(arguments), arguments.file
    head = asyncio.run(_export(settings, path))
    sys.stdout.write(
        f"{path}: {head.requests} requests of namespace {head.namespace}, encrypted with the first"
        " of encryption.keys. It holds every secret of the store: remove it when it is of no more"
        " use.\n"
    )
    return 0


async def _export(settings: Settings, path: Path) -> Head:
    async with open_stopped_store(settings) as store:
        return await export_store(store, path, by=_who())


def run_import(arguments: argparse.Namespace) -> int:
    """Import; raises ProxyError, and then no service starts there until it is done again."""
    settings = settings_of(arguments)
    head = asyncio.run(_import(settings, arguments.file, replace=arguments.replace))
    sys.stdout.write(
        f"{head.requests} requests of namespace {head.namespace} are in namespace"
        f" {settings.store.namespace} now. Start the service.\n"
    )
    return 0


async def _import(settings: Settings, path: Path, *, replace: bool) -> Head:
    async with open_stopped_store(settings) as store:
        return await import_store(store, path, by=_who(), replace=replace)


def _who() -> str:
    return f"user {os.getuid()} on {socket.gethostname()}"
