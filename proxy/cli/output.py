"""Output of commands: tables, JSON, text from other systems, and progress.

A terminal gets tables that fit its width, and progress bars on standard error. A pipe or a file
gets plain aligned columns, one row a line, and no progress.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click
import orjson

from proxy.domain.text import clean

_WIDEST: Final = 60  # columns of plain text; a longer cell moves the rest of its row
_STYLES: Final = {
    "ok": "green",
    "repaired": "green",
    "FAILED": "bold red",
    "WRONG": "bold red",
    "PROBLEM": "bold red",
}

Progress = Callable[[int, int], None]
"""Shows how many steps of how many are done."""


def one_line(value: Any) -> str:
    """Return a value of another system on one line, without control sequences of terminals."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return " ".join(clean(text).split())


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_table(
    rows: Iterable[Sequence[str]], *, header: Sequence[str] = (), indent: int = 0
) -> None:
    """Print rows of equal length in aligned columns, below a header if there is one."""
    rows = list(rows)
    if not (rows or header):
        return
    if sys.stdout.isatty():
        _print_on_terminal(rows, header, indent)
        return
    rows = [header, *rows] if header else rows
    widths = [min(max(map(len, column)), _WIDEST) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(f"{' ' * indent}{'  '.join(cells)}".rstrip())


def _print_on_terminal(rows: Iterable[Sequence[str]], header: Sequence[str], indent: int) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import, and needed on terminals only
    from rich.padding import Padding  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*header, box=None, show_header=bool(header), padding=(0, 2, 0, 0), pad_edge=False)
    if not header:
        table.add_column()
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*[Text(cell, _STYLES.get(cell.strip(), ""), overflow="fold") for cell in row])
    Console().print(Padding(table, (0, 0, 0, indent), expand=False))


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """Show a progress bar on standard error, if that is a terminal.

    Nothing may be printed inside.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich import progress  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415 - slow to import, and needed on terminals only

    columns = (progress.TextColumn("{task.description}"), progress.BarColumn())
    percent, elapsed = progress.TaskProgressColumn(), progress.TimeElapsedColumn()
    with progress.Progress(
        *(*columns, percent, elapsed),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    ) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
