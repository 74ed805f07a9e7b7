"""The comparison of two commits: its statistics, its order, and that it leaves nothing behind."""

import contextlib
import itertools
import math
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.compare import Measure, measures_of, rounds_of
from tests.bench.ratios import Sample, ratio, ratios, table
from tests.bench.sides import Side, commit_of, worktree
from tests.bench.startup import REPEATS, command, commands, example_in, serve

BASE = Side("BASE", Path(), Path(sys.executable))
HEAD = Side("HEAD", Path(), Path(sys.executable))
TREE = Path(__file__).parents[2]


def test_the_interval_is_students_of_the_logarithms() -> None:
    """By hand: logarithms 0.1, 0.2, 0.3; mean 0.2, deviation 0.1, t 4.303 with two degrees."""
    found = ratio([1.0, 2.0, 4.0], [math.exp(0.1), 2 * math.exp(0.2), 4 * math.exp(0.3)])

    half = 4.303 * 0.1 / math.sqrt(3)
    assert found.ratio == pytest.approx(math.exp(0.2))
    assert (found.low, found.high) == pytest.approx((math.exp(0.2 - half), math.exp(0.2 + half)))
    assert (found.base, found.head) == pytest.approx((2.0, 2 * math.exp(0.2)))


def test_the_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    chance = random.Random(7)
    held = 0
    for _ in range(1_000):
        drift = [chance.uniform(1, 3) for _ in range(5)]
        base = [chance.lognormvariate(0, 0.1) * by for by in drift]
        head = [chance.lognormvariate(0, 0.1) * by * 0.9 for by in drift]
        found = ratio(base, head)
        held += found.low <= 0.9 <= found.high

    assert 930 <= held <= 970


@pytest.mark.parametrize("factor", [1.0, 1.25, 0.8])
def test_a_side_that_is_slower_by_a_known_factor_is_reported_so(factor: float) -> None:
    """The sides share a drift of the machine that is larger than the factor."""
    found = ratios(*rounds_of([_noisy(factor)], BASE, HEAD, 10))["start, ms"]

    assert found.low <= factor <= found.high
    assert found.high - found.low < 0.15
    assert (found.low <= 1.0 <= found.high) == (factor == 1.0)


def _noisy(factor: float) -> Measure:
    """Return what measures 100 ms, with noise, and `factor` times as much on the side of HEAD."""
    chance = random.Random(3)
    drift = itertools.chain.from_iterable(itertools.repeat(1 + by / 5, 2) for by in range(99))

    def measure(side: Side) -> Sample:
        slower = factor if side.name == "HEAD" else 1.0
        return {"start, ms": 100 * next(drift) * slower * chance.lognormvariate(0, 0.02)}

    return measure


def test_every_second_round_is_in_the_other_order_and_the_first_time_does_not_count() -> None:
    order: list[str] = []

    def measure(side: Side) -> Sample:
        order.append(side.name[0])
        return {"place": float(len(order))}

    of_base, of_head = rounds_of([measure], BASE, HEAD, 4)

    assert "".join(order) == "BH" + "BH" + "HB" + "BH" + "HB"
    assert [sample["place"] for sample in of_base] == [3, 6, 7, 10]
    assert [sample["place"] for sample in of_head] == [4, 5, 8, 9]


def test_a_figure_that_one_side_does_not_have_is_left_out() -> None:
    compared = ratios([{"a": 1.0, "b": 1.0}] * 2, [{"a": 2.0}] * 2)

    assert list(compared) == ["a"]
    assert "| a | 1 | 2 | 2.000 | 2.000 to 2.000 |" in table(compared)


@pytest.fixture
def fake(tmp_path: Path) -> Side:
    """A side whose command and interpreter write down how they were called."""
    for name in ("approval-proxy", "python"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/calls\n')
        (tmp_path / name).chmod(0o755)
    return Side("HEAD", tmp_path, tmp_path / "python")


def test_a_command_is_timed_in_turns_with_the_yardstick_and_its_fastest_run_counts(
    fake: Side,
) -> None:
    """The own command takes 5, 3 and 4 seconds, the yardstick 2, 1 and 3."""
    lengths = [0, 5, 0, 2, 0, 3, 0, 1, 0, 4, 0, 3]
    found = command(fake, "keys new", ("keys", "new"), _clock(lengths))

    calls = (fake.tree / "calls").read_text().splitlines()
    assert calls == ["approval-proxy keys new", "python -c import aiohttp"] * REPEATS
    assert found["`keys new`, ms"] == pytest.approx(3_000)
    assert found["`keys new`, times `import aiohttp`"] == pytest.approx(3)
    assert set(found) == {
        "`keys new`, ms",
        "`keys new`, processor ms",
        "`keys new`, times `import aiohttp`",
    }


def _clock(steps: list[int]) -> Callable[[], float]:
    """Return a clock that goes on by the next step whenever it is read."""
    return iter(itertools.accumulate(steps)).__next__


def test_a_command_that_fails_ends_the_comparison_with_what_it_said(fake: Side) -> None:
    fake.command.write_text("#!/bin/sh\necho 'no such command' >&2\nexit 2\n")

    with pytest.raises(SystemExit, match="no such command"):
        command(fake, "--help", ("--help",))


def test_the_measured_commands_work_with_the_example_settings(tmp_path: Path) -> None:
    example = example_in(tmp_path / "settings", TREE)

    for arguments in commands(example).values():
        words = (sys.executable, "-m", "proxy", *arguments)
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert set(measures_of(tmp_path, example, 1.0)) == {"cli", "serve", "accept", "full"}


async def test_serve_is_measured_from_outside(tmp_path: Path) -> None:
    """More processes work than when it is ready, so it uses more; the store's server is no part."""
    found = await serve(HEAD, example_in(tmp_path / "settings", TREE))

    assert 0 < found["`serve` is ready, ms"] < found["its worker works, ms"]
    for figure in ("memory when {}, PSS MiB", "processor time until {}, ms"):
        assert 0 < found[figure.format("ready")] < found[figure.format("its worker works")]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "file").write_text("as committed")
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.com")
    for words in (("init", "--quiet"), ("add", "file"), (*who, "commit", "--quiet", "-mfirst")):
        subprocess.run(("git", *words), cwd=folder, check=True)
    return folder


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit, None])
def test_the_worktree_of_base_is_gone_however_the_comparison_ends(
    repository: Path, ending: type[BaseException] | None
) -> None:
    (repository / "file").write_text("changed since")
    with (
        contextlib.suppress(KeyboardInterrupt, SystemExit),
        worktree(repository, commit_of(repository, "HEAD")) as tree,
    ):
        assert (tree / "file").read_text() == "as committed"
        if ending:
            raise ending

    listed = subprocess.check_output(("git", "worktree", "list"), cwd=repository, text=True)
    assert not tree.parent.exists()
    assert len(listed.splitlines()) == 1


def test_a_base_that_is_no_commit_is_refused(repository: Path) -> None:
    with pytest.raises(SystemExit, match="names no commit"):
        commit_of(repository, "no-such-name")
