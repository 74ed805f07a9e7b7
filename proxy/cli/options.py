"""What commands share: where they register, and where they read the settings."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.settings import CONFIG, Settings, load

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name
else:
    Subparsers = object


def add_config(parser: argparse.ArgumentParser) -> None:
    """Give a command the option `--config`."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="PATH",
        help=f"the settings file; without it, the one that {CONFIG} names",
    )


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the settings a command runs with; raises SettingsError."""
    return load(arguments.config, os.environ)
