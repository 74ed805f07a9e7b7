import hashlib
from pathlib import Path

import pytest
import yaml

from proxy.cli import main
from proxy.settings import load
from tests.example_settings import write_example


def test_a_new_key_is_shown_with_the_line_that_lets_it_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "new", "--name", "alice"]) == 0

    lines = capsys.readouterr().out.splitlines()
    key, pasted = lines[1], yaml.safe_load(lines[-1])
    assert key.startswith("ap_")
    assert len(key) == 46
    assert pasted == {"alice": {"keys": [f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"]}}
    config = write_example(tmp_path)
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("clients: {}", f"clients:\n    {lines[-1]}"), encoding="utf-8")
    assert load(config, {}).operators.clients["alice"].keys == tuple(pasted["alice"]["keys"])


def test_no_two_keys_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    keys = set()
    for _ in range(10):
        main(["keys", "new"])
        keys.add(capsys.readouterr().out.splitlines()[1])

    assert len(keys) == 10
