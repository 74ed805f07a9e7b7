"""`approval-proxy audit verify`: is the audit whole? Offline, from its files and public keys."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import orjson

from proxy.audit.files import HEAD_FILE, KEYS_FILE, files_in
from proxy.audit.verify import Report, verify
from proxy.cli.options import FILE, config_option
from proxy.cli.output import progress_bar
from proxy.cli.sample import read_bytes
from proxy.errors import ConfigurationError
from proxy.security.signing import Verifier
from proxy.settings import load


@click.group()
def audit() -> None:
    """Verify the audit, offline."""


@audit.command("verify")
@click.argument(
    "files",
    nargs=-1,
    type=FILE,
    metavar="[FILE]...",
    help="Lines collected from standard output, oldest first, in place of a folder.",
)
@click.option("--folder", type=FILE, help="The audit's folder; the default is in the settings.")
@click.option(
    "--keys",
    type=FILE,
    help="Public keys that you trust; the default is keys.json in the folder, which proves nothing"
    " against somebody who may write there.",
)
@click.option("--head", "heads", type=FILE, multiple=True, help="A copy of head.json; repeatable.")
@config_option
def verify_command(
    files: Sequence[Path],
    folder: Path | None,
    keys: Path | None,
    heads: Sequence[Path],
    config: Path | None,
) -> int:
    """Find gaps, edits and forgeries in the audit's files.

    Verifies the chain of lines and its signed heads. A tail that was cut off is detected by
    comparison with the newest head: head.json in the folder, and every head given with --head, such
    as a copy on another machine.
    """
    if files and folder:
        raise click.UsageError("Verify FILE or a --folder, not both.")
    if config and (files or folder):
        raise click.UsageError("--config names the folder: omit it with FILE or --folder.")
    if files:
        if keys is None:
            raise click.UsageError("--keys: name the public keys to verify these files with.")
        contents = [(str(file), read_bytes(file).splitlines(keepends=True)) for file in files]
        report = _verify(contents, keys, heads, size=sum(map(_size, files)))
    else:
        folder = folder or load(config, os.environ).audit_folder
        report = examine(folder, keys=keys, heads=heads)
    if not report.last:
        report.problems.append("it has no lines: is this where the audit is written to?")
    for note in report.notes:
        click.echo(f"note     {note}")
    for problem in report.problems:
        click.echo(f"PROBLEM  {problem}")
    lines = f"lines {report.first} to {report.last}" if report.last else "no lines"
    verdict = f"{len(report.problems)} problems" if report.problems else "whole"
    prefix = f"{folder}: " if folder else ""
    click.echo(f"{prefix}{lines}, signed up to {report.signed}: {verdict}")
    return int(bool(report.problems))


def examine(folder: Path, *, keys: Path | None = None, heads: Sequence[Path] = ()) -> Report:
    """Verify a folder; raises ConfigurationError if it is missing, or a file cannot be used."""
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder: where is the audit? Give --folder")
    published = keys or folder / KEYS_FILE
    newest = [folder / HEAD_FILE] if (folder / HEAD_FILE).exists() else []
    files = files_in(folder)
    return _verify(
        [(file.path.name, file.lines()) for file in files],
        published if keys or _has_keys(published) else None,
        [*heads, *newest],
        size=sum(_size(file.path) for file in files),
    )


def _verify(
    files: Iterable[tuple[str, Iterable[bytes]]],
    keys: Path | None,
    heads: Sequence[Path],
    *,
    size: int,
) -> Report:
    verifier = Verifier.of(read_bytes(keys)) if keys else None
    with progress_bar("audit") as report:
        done = 0

        def counted(lines: Iterable[bytes]) -> Iterator[bytes]:
            nonlocal done
            for line in lines:
                yield line
                done += len(line)
                report(done, size)

        chain = ((name, counted(lines)) for name, lines in files)
        return verify(chain, verifier=verifier, heads=[*_read_heads(heads)])


def _size(file: Path) -> int:
    return file.stat().st_size


def _has_keys(published: Path) -> bool:
    """Return True if the audit has keys; without keys, it is a chain that is not signed."""
    return published.exists() and bool(orjson.loads(read_bytes(published)).get("keys"))


def _read_heads(files: Sequence[Path]) -> Iterator[Any]:
    for file in files:
        try:
            yield orjson.loads(read_bytes(file))["head"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{file} is not a copy of head.json") from error
