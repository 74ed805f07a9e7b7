import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy import __version__
from proxy.cli import main
from tests.support.example_settings import CANARY, EXAMPLE, write_example


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return write_example(tmp_path)


def test_check_prints_every_setting_with_its_origin_and_no_secret(
    example: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPROVAL_PROXY__STORE__REDIS_URL", f"redis://:{CANARY}@redis:6379/0")

    assert main(["check", "--config", str(example)]) == 0

    shown = capsys.readouterr()
    lines = [line.split() for line in shown.out.splitlines()]
    assert lines[0] == ["setting", "value", "origin"]
    assert ["listen.port", "8080", "file", str(example)] in lines
    assert [
        "store.redis_url",
        "redis://********@redis:6379/0",
        "environment",
        "APPROVAL_PROXY__STORE__REDIS_URL",
    ] in lines
    assert CANARY not in shown.out + shown.err


def test_check_tells_every_problem_and_no_secret(
    example: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPROVAL_PROXY__STORE__REDIS_URL", f"redis://:{CANARY}@redis:port/0")
    monkeypatch.setenv("APPROVAL_PROXY__STORE__FODLER", CANARY)

    assert main(["check", "--config", str(example)]) == 1

    shown = capsys.readouterr()
    assert shown.out == ""
    heading, *problems = shown.err.splitlines()
    assert heading == "approval-proxy: these settings cannot be used:"
    assert [problem.split(": ")[1] for problem in problems] == ["store.redis_url", "store.fodler"]
    assert CANARY not in shown.err


def test_check_reads_the_file_that_the_environment_names(
    example: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPROVAL_PROXY_CONFIG", str(example))

    assert main(["check"]) == 0
    assert f"file {example}" in capsys.readouterr().out


def test_the_example_as_it_is_lacks_nothing_but_its_secret_files(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "--config", str(EXAMPLE)]) == 1

    _, *problems = capsys.readouterr().err.splitlines()
    assert len(problems) == 3
    assert all("file /run/secrets/" in problem for problem in problems)


def test_a_wrong_command_line_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chekc"]) == 2
    assert "No such command 'chekc'. Did you mean 'check'?" in capsys.readouterr().err


def test_python_m_proxy_is_the_command() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "proxy", "--version"], capture_output=True, text=True, check=True
    )

    assert said.stdout == f"approval-proxy {__version__}\n"


def test_a_reader_that_has_seen_enough_gets_no_traceback(example: Path) -> None:
    """As with `approval-proxy check | head -1`: the pipe is closed before everything is written."""
    words = [sys.executable, "-m", "proxy", "check", "--config", str(example)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait(30) == 1


def test_a_person_who_interrupts_gets_no_traceback(tmp_path: Path) -> None:
    """It waits for its settings from a pipe meanwhile, and shells know 130."""
    settings = tmp_path / "settings.yaml"
    os.mkfifo(settings)
    words = [sys.executable, "-m", "proxy", "check", "--config", str(settings)]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as program, settings.open("w"):
        assert program.stderr is not None
        program.send_signal(signal.SIGINT)
        assert program.wait(30) == 130
        assert program.stderr.read() == b""
