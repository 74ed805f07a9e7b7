from functools import partial
from pathlib import Path

import pytest

from proxy.security.watched_files import WatchedFiles
from tests.support.example_settings import write_example
from tests.support.manual_clock import ManualClock


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return write_example(tmp_path)


@pytest.fixture
def timed(example: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings whose files are looked at when the test's clock says so."""
    watched = partial(WatchedFiles, monotonic=lambda: clock.monotonic() / 1_000)
    monkeypatch.setattr("proxy.settings.secrets.WatchedFiles", watched)
    return example
