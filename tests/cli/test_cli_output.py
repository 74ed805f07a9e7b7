"""Output for people and for programs: tables and progress on a terminal, plain text elsewhere."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli.output import print_table, progress_bar
from tests.audit.test_audit_verification import written
from tests.support.example_settings import write_example

ESCAPE = "\x1b"
WIDTH = 80


def on_terminal(*words: str, stream: str, **environment: str) -> tuple[str, str]:
    """Run a command with one stream on a terminal; return what that and the other one show."""
    main, terminal = pty.openpty()
    ended = subprocess.Popen(
        [sys.executable, "-m", "proxy", *words],
        stdout=terminal if stream == "stdout" else subprocess.PIPE,
        stderr=terminal if stream == "stderr" else subprocess.PIPE,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH), **environment},
    )
    os.close(terminal)
    shown = b""
    with os.fdopen(main, "rb", buffering=0) as screen:
        try:
            while chunk := screen.read(65_536):
                shown += chunk
        except OSError:  # Linux reports the end of a terminal so
            pass
    others = b"".join(part for part in ended.communicate(timeout=30) if part)
    assert ended.returncode == 0, others
    return shown.decode(), others.decode()


def test_a_terminal_gets_a_table_that_fits(tmp_path: Path) -> None:
    config = str(write_example(tmp_path))
    shown, errors = on_terminal("check", "--config", config, stream="stdout")
    assert errors == ""
    assert f"{ESCAPE}[1msetting" in shown
    plain = shown.replace(f"{ESCAPE}[1m", "").replace(f"{ESCAPE}[0m", "")
    assert ESCAPE not in plain
    assert max(map(len, plain.splitlines())) <= WIDTH
    assert "routes.0.guards.unknown_approver " in plain  # keys stay whole


def test_no_color_is_respected(tmp_path: Path) -> None:
    shown, _ = on_terminal(
        *("audit", "verify", "--folder", str(written(tmp_path))), stream="stderr", NO_COLOR="1"
    )
    assert "audit" in shown
    assert f"{ESCAPE}[3" not in shown


def test_progress_goes_to_the_terminal_only(tmp_path: Path) -> None:
    words = ("audit", "verify", "--folder", str(written(tmp_path)))
    progress, result = on_terminal(*words, stream="stderr")
    assert "audit" in progress
    assert "100%" in progress
    assert ESCAPE not in result
    assert result.endswith("signed up to 8: whole\n")
    shown, errors = on_terminal(*words, stream="stdout")
    assert (shown.replace("\r", ""), errors) == (result, "")


def test_rows_of_a_pipe_are_aligned_and_never_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("a", "x" * 200, "[b]y[/b]"), ("bb", "z", "")], header=("k", "v", "o"), indent=2)
    assert capsys.readouterr().out.splitlines() == [
        f"  k   v{' ' * 61}o",
        f"  a   {'x' * 200}  [b]y[/b]",
        "  bb  z",
    ]


def test_no_rows_are_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([])
    with progress_bar("nothing") as report:
        report(1, 2)
    assert capsys.readouterr() == ("", "")
