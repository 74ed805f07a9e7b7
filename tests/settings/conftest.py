from pathlib import Path

import pytest

from tests.example_settings import write_example


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return write_example(tmp_path)
