"""`approval-proxy completion`: the script that completes command lines in a shell."""

import click
from click.shell_completion import get_completion_class

from proxy.cli import COMPLETE_VARIABLE, PROGRAM, command_line


@click.command(
    help="Print the script that completes commands and options in SHELL."
    "\n\nbash, for this session or in ~/.bashrc:"
    '\n\n\b\n  eval "$(approval-proxy completion bash)"'
    "\n\nzsh, in ~/.zshrc, after compinit:"
    '\n\n\b\n  eval "$(approval-proxy completion zsh)"'
    "\n\nfish, once:"
    "\n\n\b\n  approval-proxy completion fish > ~/.config/fish/completions/approval-proxy.fish",
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> int:
    """Print a completion script."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(command_line, {}, PROGRAM, COMPLETE_VARIABLE).source(), nl=False)
    return 0
