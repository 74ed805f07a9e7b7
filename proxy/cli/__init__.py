"""The command line: `approval-proxy <command>`, one module per command."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from proxy import __version__
from proxy.cli.commands import (
    audit,
    check,
    demo,
    doctor,
    explain,
    keys,
    login,
    pause,
    receipts,
    requests,
    serve,
    store,
    try_,
)
from proxy.errors import ProxyError, SettingsError

_INTERRUPTED: Final = 130
_COMMANDS: Final = (
    audit,
    check,
    demo,
    doctor,
    explain,
    keys,
    login,
    pause,
    receipts,
    requests,
    serve,
    store,
    try_,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for an error, 2 for a wrong command line.

    After Ctrl-C it is 130, as shells have it.
    """
    arguments = _parser().parse_args(argv)
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever reads has seen enough, as `head` does; flushing at the end must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SettingsError as error:
        problems = "\n".join(f"- {problem}" for problem in error.problems)
        sys.stderr.write(f"approval-proxy: these settings cannot be used:\n{problems}\n")
    except ProxyError as error:
        sys.stderr.write(f"approval-proxy: {error}\n")
    else:
        return code
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="approval-proxy",
        description="Turns access requests of witboost into tickets, and decisions into statuses.",
    )
    parser.add_argument("--version", action="version", version=f"approval-proxy {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands)
    return parser
