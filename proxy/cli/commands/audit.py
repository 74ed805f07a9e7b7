"""`approval-proxy audit verify`: is the audit whole? Offline, from its files and public keys."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from proxy.audit.files import HEAD_FILE, KEYS_FILE, files_in
from proxy.audit.verify import Report, verify
from proxy.cli.options import Subparsers, add_config, settings_of
from proxy.errors import ConfigurationError
from proxy.security.signing import Verifier


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser("audit", help="verify the audit, offline")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    action = actions.add_parser(
        "verify",
        help="look for gaps, edits and forgeries in the audit's files",
        description="Verifies the chain of lines and its signed heads. A tail that was cut off"
        " shows against the newest head: head.json in the folder, and every head given with --head,"
        " such as one that was copied elsewhere before.",
    )
    action.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="lines that were collected from standard output, oldest first, in place of a folder",
    )
    action.add_argument(
        "--folder", type=Path, help="the audit's folder; without it, that of the settings"
    )
    action.add_argument(
        "--keys",
        type=Path,
        help="public keys that you trust; without it, keys.json in the folder, which proves nothing"
        " against somebody who may write there",
    )
    action.add_argument(
        "--head", type=Path, action="append", default=[], help="a copy of head.json, from elsewhere"
    )
    add_config(action)
    action.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is wrong, one problem a line, and return 1 if anything is."""
    folder: Path | None = arguments.folder
    if arguments.files:
        if arguments.keys is None:
            raise ConfigurationError("--keys: name the public keys to verify these files with")
        verifier = Verifier.of(_content(arguments.keys))
        files = [(str(file), _content(file).splitlines(keepends=True)) for file in arguments.files]
        report = verify(files, verifier=verifier, heads=[*_heads(arguments.head)])
    else:
        folder = folder or settings_of(arguments).audit_folder
        report = examine(folder, keys=arguments.keys, heads=arguments.head)
    if not report.last:
        report.problems.append("there is no line at all: is this where the audit is written to?")
    for note in report.notes:
        sys.stdout.write(f"note     {note}\n")
    for problem in report.problems:
        sys.stdout.write(f"PROBLEM  {problem}\n")
    lines = f"lines {report.first} to {report.last}" if report.last else "no lines"
    verdict = f"{len(report.problems)} problems" if report.problems else "whole"
    place = f"{folder}: " if folder else ""
    sys.stdout.write(f"{place}{lines}, signed up to {report.signed}: {verdict}\n")
    return int(bool(report.problems))


def examine(folder: Path, *, keys: Path | None = None, heads: tuple[Path, ...] = ()) -> Report:
    """Verify a folder; raises ConfigurationError where there is nothing to verify with."""
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is no folder: where is the audit? Give --folder")
    published = keys or folder / KEYS_FILE
    verifier = Verifier.of(_content(published)) if keys or _any_keys(published) else None
    kept = [*heads, *([folder / HEAD_FILE] if (folder / HEAD_FILE).exists() else [])]
    files = [(file.path.name, file.lines()) for file in files_in(folder)]
    return verify(files, verifier=verifier, heads=[*_heads(kept)])


def _any_keys(published: Path) -> bool:
    """Whether keys are published: without any, the audit is a chain that nobody signs."""
    return published.exists() and bool(orjson.loads(_content(published)).get("keys"))


def _heads(files: list[Path]) -> Iterator[Any]:
    for file in files:
        try:
            yield orjson.loads(_content(file))["head"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{file} is no copy of head.json") from error


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
