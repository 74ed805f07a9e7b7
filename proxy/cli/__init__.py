"""The command line: `approval-proxy <command>`, one module per command.

A command's module is imported when the command is invoked, so help, completion and small commands
such as `keys new` start without the libraries of the service.
"""

import os
import sys
from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Final

import click
from click.shell_completion import shell_complete
from typing_extensions import override

from proxy import __version__
from proxy.errors import ProxyError, SettingsError

PROGRAM: Final = "approval-proxy"
COMPLETE_VARIABLE: Final = "_APPROVAL_PROXY_COMPLETE"
"""The environment variable in which a completion script of click passes its request."""

COMMANDS: Final = {
    "audit": ("audit:audit", "Verify the audit offline."),
    "check": ("check:check", "Validate the settings and call the systems."),
    "completion": ("completion:completion", "Print the completion script of a shell."),
    "demo": ("demo:demo", "Play the whole path with simulated systems."),
    "doctor": ("doctor:doctor", "Compare store with audit and ticket systems."),
    "explain": ("explain:explain", "Explain how a hook call would be processed."),
    "keys": ("keys:keys", "Make keys for clients and for encryption."),
    "login": ("login:login", "Log in to a ticket system once."),
    "pause": ("pause:pause", "Stop calling a system or witboost instance."),
    "receipts": ("receipts:receipts", "Print and verify receipts of decisions."),
    "requests": ("requests:requests", "List and repair requests."),
    "resume": ("pause:resume", "Call a paused system or instance again."),
    "serve": ("serve:serve", "Run the proxy."),
    "store": ("store:store", "Export and import the whole store."),
    "try": ("try_:try_", "Open one ticket marked TEST."),
}
"""Each command by name: its module and function below `proxy.cli.commands`, and its short help.

Completion shows at most 45 characters of the help, and in fish nothing after a comma.
"""

_INTERRUPTED: Final = 130


class LazyGroup(click.Group):
    """The group of all commands, which imports a command only to parse its arguments."""

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, stub, rest = super().resolve_command(ctx, args)
        if stub is None:
            return name, None, rest
        target, _ = COMMANDS[str(name)]
        return name, resolve_name(f"proxy.cli.commands.{target}"), rest


@click.group(
    PROGRAM,
    cls=LazyGroup,
    commands=[click.Command(name, help=text) for name, (_, text) in COMMANDS.items()],
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def command_line() -> None:
    """Turn access requests of witboost into tickets, and decisions into statuses."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for an error, 2 for a wrong command line.

    After Ctrl-C it is 130, the convention of shells.
    """
    if instruction := os.environ.get(COMPLETE_VARIABLE):
        return shell_complete(command_line, {}, PROGRAM, COMPLETE_VARIABLE, instruction)
    try:
        code = _run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader has closed the pipe, as `head` does; flushing at the end must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SettingsError as error:
        problems = "\n".join(f"- {problem}" for problem in error.problems)
        click.echo(f"{PROGRAM}: these settings cannot be used:\n{problems}", err=True)
    except ProxyError as error:
        click.echo(f"{PROGRAM}: {error}", err=True)
    else:
        return code
    return 1


def _run(arguments: list[str]) -> int:
    try:
        with command_line.make_context(PROGRAM, arguments) as context:
            return int(command_line.invoke(context))
    except click.exceptions.Exit as end:  # of --help and --version
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
