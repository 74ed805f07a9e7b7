"""The browser of this machine, driven by Playwright; none is downloaded."""

import os
import shutil
from typing import Final

import pytest

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def chromium() -> str:
    """Return the path of Chromium or Chrome.

    Skips the test where there is none, but never in continuous integration.
    """
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        said = "no Chromium is on PATH (Debian: apt install chromium), so no browser can be driven"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)
    return found
