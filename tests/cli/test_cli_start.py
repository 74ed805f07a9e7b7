"""Start of the command line: imports on demand, help, wrong usage, completion."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli import COMMANDS, main
from tests.support.example_settings import write_example

HEAVY = ("aiohttp", "pydantic", "rich", "redis", "jinja2", "cryptography")

IMPORTED = """
import sys
from proxy.cli import main
code = main(sys.argv[1:])
modules = [name for name in {heavy} if name in sys.modules]
commands = [name for name in sys.modules if name.startswith("proxy.cli.commands.")]
sys.stderr.write(f"{{code}} {{modules}} {{commands}}")
"""


def imported(*words: str) -> str:
    """Run a command in a fresh interpreter; its exit code, heavy modules and command modules."""
    script = IMPORTED.format(heavy=HEAVY)
    ended = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
    )
    return ended.stderr


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_help_and_version_import_no_command(words: list[str]) -> None:
    assert imported(*words) == "0 [] []"


def test_a_new_key_needs_no_library_of_the_service() -> None:
    assert imported("keys", "new") == "0 [] ['proxy.cli.commands.keys']"


def test_check_imports_what_it_needs(tmp_path: Path) -> None:
    """The negative control of the two tests above."""
    config = str(write_example(tmp_path))
    assert "'pydantic'" in imported("check", "--config", config)
    assert "'aiohttp'" in imported("requests", "--help")
    assert "'cryptography'" in imported("keys", "new", "--encryption")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: approval-proxy {name} ")


def test_short_help_fits_into_completion() -> None:
    assert [text for _, text in COMMANDS.values() if len(text) > 45 or "," in text] == []


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-h"]) == 0
    listed = capsys.readouterr().out.partition("Commands:\n")[2]
    assert [line.split()[0] for line in listed.splitlines()] == list(COMMANDS)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ([], "Usage: approval-proxy"),
        (["requests", "lsit"], "Did you mean 'list'?"),
        (["check", "--lvie"], "Did you mean '--live'?"),
        (["check", "--json"], "add --live"),
        (["keys", "new", "--encryption", "--signing"], "make one after the other"),
        (["keys", "new", "--signing", "--name", "alice"], "omit them with --signing"),
        (["keys", "new", "--encryption", "--expires", "2099-01-01"], "omit them with --encryption"),
        (["keys", "new", "--expires", "2020-01-31"], "name a later day"),
        (["login", "desk", "--no-browser", "--paste"], "omit --no-browser"),
        (["doctor", "--since", "soon"], "'--since'"),
        (["requests", "retry", "ar1", "--reason", "r", "--yes"], "omit it, or the filter"),
        (["requests", "cancel", "ar1", "--reason", "r", "--state", "held"], "omit it, or the"),
        (["requests", "retry", "--reason", "r", "--no-ticket-exists"], "give its ID"),
        (["requests", "cancel", "--reason", "r"], "--state"),
        (["requests", "list", "--config", "x", "--url", "http://x"], "omit --config or --url"),
        (["audit", "verify", "lines", "--folder", "x"], "not both"),
        (["audit", "verify", "--folder", "x", "--config", "y"], "omit it with"),
    ],
)
def test_wrong_usage_ends_with_2_and_advice(
    words: list[str], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert advice in shown.err


def completed(shell: str, source: str, tmp_path: Path) -> str:
    """Run a script in a shell that has loaded the completion script of the command."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not on PATH (Debian: apt install {shell})")
    script = subprocess.run(
        [sys.executable, "-m", "proxy", "completion", shell],
        capture_output=True,
        text=True,
        check=True,
    )
    assert script.stderr == ""
    command = tmp_path / "approval-proxy"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m proxy "$@"\n')
    command.chmod(0o755)
    (tmp_path / "completion").write_text(script.stdout)
    ended = subprocess.run(
        [program, "-c", source],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SCRIPT": str(tmp_path)},
        cwd=Path(__file__).parents[2],
    )
    assert ended.stderr == ""
    return ended.stdout


BASH = """
. "$SCRIPT/completion"
complete -p approval-proxy > /dev/null || exit 1
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_approval_proxy_completion approval-proxy
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("approval-proxy re", ["receipts", "requests", "resume"]),
        ("approval-proxy keys n", ["new"]),
        ("approval-proxy check --li", ["--live"]),
        ("approval-proxy completion z", ["zsh"]),
    ],
)
def test_bash_completes(words: str, expected: list[str], tmp_path: Path) -> None:
    assert completed("bash", BASH.format(words=words), tmp_path).split() == expected


def test_zsh_completes(tmp_path: Path) -> None:
    source = """
autoload -U compinit && compinit -D -u
compadd() { print -l -- "$@" }
_describe() { print -l -- "${(@P)3}" }
. "$SCRIPT/completion"
(( ${+_comps[approval-proxy]} )) || exit 1
words=(approval-proxy re) CURRENT=2
_approval_proxy_completion
"""
    assert "requests:List and repair requests." in completed("zsh", source, tmp_path)


def test_fish_completes(tmp_path: Path) -> None:
    source = 'source "$SCRIPT/completion"; complete -C "approval-proxy re"'
    assert "requests\tList and repair requests." in completed("fish", source, tmp_path)
