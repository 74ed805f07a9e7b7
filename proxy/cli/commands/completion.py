"""`approval-proxy completion`: the script that completes command lines in a shell."""

import click
from click.shell_completion import get_completion_class

from proxy.cli import COMPLETE_VARIABLE, PROGRAM, command_line


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> int:
    """Print the script that completes commands and options in SHELL.

    bash, for this session or in ~/.bashrc:

    \b
      eval "$(approval-proxy completion bash)"

    zsh, in ~/.zshrc, after compinit:

    \b
      eval "$(approval-proxy completion zsh)"

    fish, once:

    \b
      approval-proxy completion fish > ~/.config/fish/completions/approval-proxy.fish
    """  # noqa: D301 - click keeps the lines after \b as they are
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(command_line, {}, PROGRAM, COMPLETE_VARIABLE).source(), nl=False)
    return 0
