"""Settings errors without their places, for tests that are about the rest of the message."""

import re
from collections.abc import Iterable
from typing import Final

_PLACE: Final = re.compile(r"(?:environment [A-Za-z0-9_]+|/[^ :]+\.yaml:\d+:\d+): (?=[a-z_]+[.:])")


def without_places(problems: Iterable[str]) -> list[str]:
    """Return each problem from its key on."""
    return [_PLACE.sub("", problem, count=1) for problem in problems]
