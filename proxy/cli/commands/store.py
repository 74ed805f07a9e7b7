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


@click.group()
def store() -> None:
    """Export and import the whole store."""


@store.command("export")
@click.argument("file", type=FILE, help="The file to create.")
@config_option
def export(file: Path, config: Path | None) -> int:
    """Write the whole store into a new file, encrypted with encryption.keys, while no service runs:
    requests with their ids, tickets and histories, refresh tokens, signing keys, and the state of
    the audit.
    """
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


@store.command("import")
@click.argument("file", type=FILE, help="A file of `store export`.")
@click.option(
    "--replace",
    is_flag=True,
    help="First delete the store that was exported; refused if it has changed since.",
)
@config_option
def import_(file: Path, config: Path | None, *, replace: bool) -> int:
    """Write an export into store.namespace, which must be empty, under the encryption.index_key of
    the settings, while no service runs.

    The whole file is verified before anything is written. Repeat an import that was interrupted
    from its beginning.
    """
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
