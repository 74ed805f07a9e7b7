"""The two sides of a comparison: a commit and the working tree, each installed in its own venv.

Both are installed in the same way, as users do: the locked packages, then the project as a wheel.
A development environment would not do: some libraries look at every installed distribution when
they are imported, so its start is slower. Environments are kept in `.venv-bench/`: that of a commit
is complete, that of the working tree gets the project anew in each run.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LOCKS: Final = ("deploy/requirements.lock", "deploy/requirements-build.lock")
_COMPLETE: Final = "complete"  # a file in an environment whose installation was not cut short


@dataclass(frozen=True, slots=True)
class Side:
    """One side: its source tree, for example settings, and its own interpreter and command."""

    name: str
    tree: Path
    python: Path

    @property
    def command(self) -> Path:
        """The program as users call it."""
        return self.python.with_name("approval-proxy")


def commit_of(repository: Path, name: str) -> str:
    """Return the full hash of a commit; raises SystemExit if there is none of this name."""
    found = _git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", check=False)
    if not found:
        raise SystemExit(f"BASE={name} names no commit of {repository}")
    return found


def described(repository: Path) -> str:
    """Return the commit of the working tree, and whether files differ from it."""
    changed = _git(repository, "status", "--porcelain", "--untracked-files=no")
    return _git(repository, "rev-parse", "HEAD") + (" and changes" if changed else "")


@contextmanager
def worktree(repository: Path, commit: str) -> Iterator[Path]:
    """Check a commit out in a temporary folder, which is removed however this ends."""
    with tempfile.TemporaryDirectory(prefix="bench-compare-") as folder:
        tree = Path(folder) / "tree"
        try:
            _git(repository, "worktree", "add", "--quiet", "--detach", str(tree), commit)
            yield tree
        finally:
            _git(repository, "worktree", "remove", "--force", str(tree), check=False)


def base_side(environments: Path, tree: Path, commit: str) -> Side:
    """Return the side of a commit; a complete environment of an earlier run serves again."""
    folder = environments / f"{commit[:12]}-{_interpreter()}"
    if not (folder / _COMPLETE).exists():
        _environment(folder, tree)
        _project(folder, tree)
        (folder / _COMPLETE).touch()
    return Side("BASE", tree, folder / "bin" / "python")


def head_side(environments: Path, tree: Path) -> Side:
    """Return the side of the working tree, installed as it is now."""
    locks = b"".join((tree / lock).read_bytes() for lock in _LOCKS)
    folder = environments / f"tree-{hashlib.sha256(locks).hexdigest()[:12]}-{_interpreter()}"
    if not (folder / _COMPLETE).exists():
        _environment(folder, tree)
        (folder / _COMPLETE).touch()
    _project(folder, tree)
    return Side("HEAD", tree, folder / "bin" / "python")


def _environment(folder: Path, tree: Path) -> None:
    """Make an environment with the locked packages of a tree."""
    sys.stdout.write(f"Installing {folder.name}\n")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run((sys.executable, "-m", "venv", str(folder)), check=True)
    locks = [word for lock in _LOCKS for word in ("-r", str(tree / lock))]
    _pip(folder, "--require-hashes", *locks)


def _project(folder: Path, tree: Path) -> None:
    """Install the project itself; its version says nothing, as it changes with releases only."""
    _pip(folder, "--no-deps", "--no-build-isolation", "--force-reinstall", str(tree))


def _pip(folder: Path, *words: str) -> None:
    pip = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--quiet")
    subprocess.run((str(folder / "bin" / "python"), *pip, *words), check=True)


def _interpreter() -> str:
    return f"py{sys.version_info.major}.{sys.version_info.minor}"


def _git(repository: Path, *words: str, check: bool = True) -> str:
    return subprocess.run(
        ("git", "-C", str(repository), *words), check=check, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
