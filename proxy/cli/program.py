"""The running program that a command asks: which one, and as whom."""

import argparse
import os

from proxy.cli.client import OperatorApi
from proxy.cli.options import add_config, settings_of
from proxy.settings.sources import OPERATOR_KEY, OPERATOR_URL


def add_program(parser: argparse.ArgumentParser) -> None:
    """Give a command the options that say which running program it asks, and as whom."""
    parser.add_argument(
        "--url",
        help=f"where the program is reached; without it, what {OPERATOR_URL} says, or else the"
        " settings' public_url",
    )
    parser.add_argument(
        "--key",
        help=f"an operator's key; better in {OPERATOR_KEY}, as others may see a command line",
    )
    add_config(parser)


def program_of(arguments: argparse.Namespace) -> OperatorApi:
    """Return the running program that a command asks; raises ConfigurationError without a key."""
    url = arguments.url or os.environ.get(OPERATOR_URL) or settings_of(arguments).public_url
    key = arguments.key or os.environ.get(OPERATOR_KEY, "")
    return OperatorApi(str(url), key.strip())
