"""`approval-proxy store`: export and import everything, above all to change the index key."""

import asyncio
import os
import socket
from pathlib import Path

import click

from proxy.app.offline import open_stopped_store
from proxy.cli.options import FILE, config_option
from proxy.cli.output import progress_bar
from proxy.maintenance.export import export_store, import_store
from proxy.maintenance.export_file import Head
from proxy.settings import Settings, load


@click.group(help="Export and import the whole store.")
def store() -> None:
    """Hold the actions."""


@store.command(
    "export",
    help="Write the whole store into a new file, encrypted with encryption.keys, while no service"
    " runs: requests with their ids, tickets and histories, refresh tokens, signing keys, and the"
    " state of the audit.",
)
@click.argument("file", type=FILE, help="The file to create.")
@config_option
def export(file: Path, config: Path | None) -> int:
    """Export; raises ProxyError, and then leaves no file."""
    head = asyncio.run(_export(load(config, os.environ), file))
    click.echo(
        f"{file}: {head.requests} requests of namespace {head.namespace}, encrypted with the first"
        " of encryption.keys. It holds every secret of the store: delete it after use."
    )
    return 0


async def _export(settings: Settings, file: Path) -> Head:
    async with open_stopped_store(settings) as opened:
        with progress_bar("export") as progress:
            return await export_store(opened, file, by=_user(), progress=progress)


@store.command(
    "import",
    help="Write an export into store.namespace, which must be empty, under the encryption.index_key"
    " of the settings, while no service runs."
    "\n\nThe whole file is verified before anything is written. Repeat an import that was"
    " interrupted from its beginning.",
)
@click.argument("file", type=FILE, help="A file of `store export`.")
@click.option(
    "--replace",
    is_flag=True,
    help="First delete the store that was exported; refused if it has changed since.",
)
@config_option
def import_(file: Path, config: Path | None, *, replace: bool) -> int:
    """Import; raises ProxyError, and then no service starts there until the import is repeated."""
    settings = load(config, os.environ)
    head = asyncio.run(_import(settings, file, replace=replace))
    click.echo(
        f"{head.requests} requests of namespace {head.namespace} are in namespace"
        f" {settings.store.namespace} now. Start the service."
    )
    return 0


async def _import(settings: Settings, file: Path, *, replace: bool) -> Head:
    async with open_stopped_store(settings) as opened:
        with progress_bar("import") as progress:
            return await import_store(opened, file, by=_user(), replace=replace, progress=progress)


def _user() -> str:
    return f"user {os.getuid()} on {socket.gethostname()}"
