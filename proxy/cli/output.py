"""What others wrote, as a terminal may show it."""

from typing import Any

import orjson

from proxy.tickets.declaring.sanitize import clean


def one_line(said: Any) -> str:
    """Return it on one line, without what would steer a terminal: others wrote it."""
    text = said if isinstance(said, str) else orjson.dumps(said).decode()
    return " ".join(clean(text).split())
