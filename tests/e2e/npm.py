"""Programs from npm that tests run against: installed once, in the versions of the lock file."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parent
_LOCK = _FOLDER / "package-lock.json"
_MODULES = _FOLDER / "node_modules"
_INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def npm_program(script: str) -> tuple[str, str]:
    """Return the command that runs a script of an installed package, `package/path.js`.

    Not through npx: that leaves its child behind. Skips as `node_program` does.
    """
    node, _ = node_program("")
    return node, str(_MODULES / script)


def node_program(script: str) -> tuple[str, str]:
    """Return the command that runs a script of this folder, its packages installed.

    Skips the test where Node.js is missing, but never in continuous integration.
    """
    node, npm = (_found(program) for program in ("node", "npm"))
    with _LOCK.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes of one test run install only once
        if not _up_to_date():
            subprocess.run([npm, *_INSTALL], cwd=_FOLDER, check=True, timeout=300)
    return node, str(_FOLDER / script)


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        said = f"{program} is not on PATH, so no foreign program can be installed from npm"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)
    return path


def _up_to_date() -> bool:
    """Tell whether npm finished an installation after the lock file last changed."""
    written_last = _MODULES / ".package-lock.json"
    return written_last.exists() and written_last.stat().st_mtime >= _LOCK.stat().st_mtime
