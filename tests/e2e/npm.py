"""Programs from npm that tests run against: installed once, in the versions of the lock files."""

import fcntl
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

_FOLDER = Path(__file__).parent
_NEWER_NODE = _FOLDER / "node22"
_INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def npm_program(script: str) -> tuple[str, str]:
    """Return the command that runs a script of an installed package, `package/path.js`.

    Not through npx: that leaves its child behind. Skips as `node_program` does.
    """
    node, _ = node_program("")
    return node, str(_FOLDER / "node_modules" / script)


def node_program(script: str, *, version: int = 0) -> tuple[str, str]:
    """Return the command that runs a script of this folder, its packages installed.

    Where the machine's Node.js is older than `version`, one from npm runs it. Skips the test where
    Node.js is missing, but never in continuous integration.
    """
    node = _found("node")
    _install(_FOLDER)
    said = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
    if int(re.findall(r"\d+", said)[0]) < version:
        _install(_NEWER_NODE)
        node = str(_newer_node())
    return node, str(_FOLDER / script)


def _newer_node() -> Path:
    """Return the one binary that npm installed for this machine."""
    found = sorted((_NEWER_NODE / "node_modules").glob("node-*/bin/node"))
    if not found:
        _missing(f"npm has no newer Node.js for {platform.platform()}")
    return found[0]


def _install(folder: Path) -> None:
    """Install what the lock file of a folder names, unless that was done."""
    with (folder / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes of one test run install only once
        if not _up_to_date(folder):
            subprocess.run([_found("npm"), *_INSTALL], cwd=folder, check=True, timeout=300)


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        _missing(f"{program} is not on PATH, so no foreign program can be installed from npm")
    return path


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def _up_to_date(folder: Path) -> bool:
    """Tell whether npm finished an installation after the lock file last changed."""
    written_last = folder / "node_modules" / ".package-lock.json"
    written = (folder / "package-lock.json").stat().st_mtime
    return written_last.exists() and written_last.stat().st_mtime >= written
