"""REST request writer: writes HTTP calls from the templates of a declaration; pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from yarl import URL

from proxy.errors import PermanentError
from proxy.outbound.responses import Call
from proxy.tickets.declaring.calls import CallShape
from proxy.tickets.declaring.sanitize import as_text
from proxy.tickets.declaring.templates import (
    Names,
    leaf_template,
    mentioned,
    path_template,
    text_template,
    tree_template,
)

LONGEST_CALL: Final = 256 * 1024
_TYPES: Final = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


class CallWriter:
    """One call of a declaration, with compiled templates."""

    def __init__(
        self, shape: CallShape, *, setting: str, base_url: str, limits: Mapping[str, int]
    ) -> None:
        self.success = frozenset(shape.success)
        self.names = frozenset[str]().union(*(mentioned(source) for _, source in shape.templates()))
        self._setting = setting
        self._base_url = base_url
        self._shape = shape
        self._path = path_template(shape.path, f"{setting}.path")
        self._query = {
            name: leaf_template(value, f"{setting}.query.{name}")
            for name, value in shape.query.items()
        }
        self._headers = {
            name: text_template(value, f"{setting}.headers.{name}")
            for name, value in shape.headers.items()
        }
        self._body = tree_template(shape.body, f"{setting}.body", limits)

    def write(self, extra: Mapping[str, str] | None = None, /, **names: Any) -> Call:
        """Return the call for these values, with `extra` parameters in its body or query.

        Raises:
            PermanentError: the values do not fit the templates, or HTTP.
        """
        extra = extra or {}
        has_body = self._shape.body is not None
        parameters = {name: render(names) for name, render in self._query.items()}
        url = self._base_url + self._path(names)
        if query := list(_pairs(parameters | ({} if has_body else dict(extra)))):
            url = str(URL(url, encoded=True).with_query(query))
        body = self._write_body(names, extra) if has_body else None
        headers = self._write_headers(names)
        if len(url) + len(body or b"") > LONGEST_CALL:
            raise PermanentError(f"{self._setting} would be longer than {LONGEST_CALL} bytes")
        return Call(self._shape.method, url, headers, body)

    def _write_headers(self, names: Names) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if self._shape.body is not None:
            headers["Content-Type"] = _TYPES[self._shape.encoding]
        for name, render in self._headers.items():
            value = render(names)
            if not (value.isascii() and value.isprintable()):
                raise PermanentError(
                    f"{self._setting}.headers.{name} cannot be written for this request: a header"
                    " holds printable ASCII only (RFC 9110 5.5)"
                )
            headers[name.title()] = value
        return headers

    def _write_body(self, names: Names, extra: Mapping[str, str]) -> bytes:
        tree = self._body(names)
        if extra and isinstance(tree, dict):
            tree |= extra
        if self._shape.encoding == "form":
            return urlencode(list(_pairs(tree))).encode()
        try:
            return orjson.dumps(tree)
        except orjson.JSONEncodeError as error:
            raise PermanentError(
                f"{self._setting}.body cannot be written as JSON: {error}"
            ) from None


def _pairs(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield parameters: a list repeats its name, and null is left out."""
    for name, value in values.items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                yield name, as_text(item)
