"""Options and types of values that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
from typing_extensions import override

FILE: Final = click.Path(path_type=Path)
"""A path; whether it can be read is checked where it is opened."""

config_option: Final = click.option(
    "--config",
    type=FILE,
    help="The settings file; the default is the one that APPROVAL_PROXY_CONFIG names.",
)


class Parsed(click.ParamType[Any]):
    """A value that a function parses; the text of its ValueError is shown to the user."""

    def __init__(self, parse: Callable[[str], Any], name: str) -> None:
        self.name = name
        self._parse = parse

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
