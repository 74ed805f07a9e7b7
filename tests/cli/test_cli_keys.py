import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from proxy.cli import main
from proxy.errors import SettingsError
from proxy.security.signing import signer
from proxy.settings import load
from tests.support.example_settings import write_example


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
    [read] = load(config, {}).operators.clients["alice"].keys
    assert [read.hash] == pasted["alice"]["keys"]
    assert read.until is None


def test_a_new_key_may_end_on_a_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", "--name", "alice", "--expires", "2027-01-31"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    config = write_example(tmp_path)
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("clients: {}", f"clients:\n    {line}"), encoding="utf-8")
    [key] = load(config, {}).operators.clients["alice"].keys
    midnight = datetime(2027, 2, 1, tzinfo=UTC)  # the day itself included
    assert key.until == midnight.timestamp() * 1_000


def test_a_day_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", "--expires", "soon"]) == 2
    assert "a day such as 2027-01-31" in capsys.readouterr().err


def test_no_two_keys_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    keys = set()
    for _ in range(10):
        main(["keys", "new"])
        keys.add(capsys.readouterr().out.splitlines()[1])

    assert len(keys) == 10


def test_a_new_signing_key_fits_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "new", "--signing"]) == 0
    key = capsys.readouterr().out.splitlines()[2]
    (tmp_path / "key.json").write_text(key, encoding="utf-8")
    environ = {"APPROVAL_PROXY__SIGNING__KEYS": f'[{{"file": "{tmp_path}/key.json"}}]'}
    assert signer(
        [each.reveal() for each in load(write_example(tmp_path), environ).signing.keys]
    ).kid


def test_a_new_encryption_key_fits_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "new", "--encryption"]) == 0

    said = capsys.readouterr().out
    key = next(line for line in said.splitlines() if len(line) == 44)
    file = tmp_path / "encryption-key"
    file.write_text(key + "\n")
    section = said[said.index("encryption:\n") :].replace("/run/secrets/encryption-key", str(file))
    config = write_example(tmp_path)
    text = re.sub(r"\nencryption:.*?\n\n", f"\n{section}\n", config.read_text(), flags=re.DOTALL)
    config.write_text(text)
    assert [each.id for each in load(config, {}).encryption.keys] == ["key1"]

    file.write_text(key[:-8])
    with pytest.raises(SettingsError, match=r"encryption\.keys\.0\.key") as caught:
        load(config, {})
    assert key[:-8] not in str(caught.value)
