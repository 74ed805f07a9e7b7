"""Servers from PyPI that we did not write, each in an environment of its own, by a hashed lock."""

import fcntl
import os
import subprocess
import venv
from pathlib import Path
from typing import Final

import pytest

_FOLDER: Final = Path(__file__).parent
_INSTALL: Final = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")


def python_with(name: str) -> str:
    """Return an interpreter that has what `<name>.lock` names; it is made once.

    Skips the test where that cannot be installed, but never in continuous integration.
    """
    environment, locked = _FOLDER / f".{name}", _FOLDER / f"{name}.lock"
    python, done = environment / "bin" / "python", environment / "installed"
    with locked.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes of one test run install only once
        if not done.exists() or done.stat().st_mtime < locked.stat().st_mtime:
            venv.create(environment, clear=True, with_pip=True)
            installing = subprocess.run(
                [python, *_INSTALL, "--require-hashes", "-r", locked],
                capture_output=True,
                timeout=300,
                check=False,
            )
            if installing.returncode:
                said = f"{name} cannot be installed: {installing.stderr.decode()[-500:]}"
                if os.environ.get("CI") == "true":
                    pytest.fail(said)
                pytest.skip(said)
            done.touch()
    return str(python)
