"""Ratios of paired measurements, with 95 % intervals.

Each round measures both sides, one right after the other, so what drifts on the machine moves both
halves of a pair. The ratio is the geometric mean of the rounds' ratios; its interval is Student's t
interval of the mean of their logarithms. A bootstrap would need more rounds than a comparison has:
with five, resampling gives intervals that are far too narrow.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Sample = Mapping[str, float]
"""What one side measured in one round: figure by name."""

# The 97.5 % quantiles of Student's t with 1 to 30 degrees of freedom; the last stands for more.
_T: Final = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclass(frozen=True, slots=True)
class Ratio:
    """One figure of both sides: medians, their ratio HEAD/BASE, and where it lies with 95 %."""

    base: float
    head: float
    ratio: float
    low: float
    high: float


def ratio(base: Sequence[float], head: Sequence[float]) -> Ratio:
    """Compare pairs of positive measurements; one pair alone has an interval without end."""
    logs = [math.log(after / before) for before, after in zip(base, head, strict=True)]
    mean = statistics.fmean(logs)
    half = math.inf
    if freedom := len(logs) - 1:
        half = _T[min(freedom, len(_T)) - 1] * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(
        base=statistics.median(base),
        head=statistics.median(head),
        ratio=math.exp(mean),
        low=math.exp(mean - half),
        high=math.exp(mean + half),
    )


def ratios(base: Sequence[Sample], head: Sequence[Sample]) -> dict[str, Ratio]:
    """Compare every figure that both sides have in every round, in the order of the first."""
    names = [name for name in base[0] if all(name in sample for sample in (*base, *head))]
    return {
        name: ratio([sample[name] for sample in base], [sample[name] for sample in head])
        for name in names
    }


def table(compared: Mapping[str, Ratio]) -> str:
    """Return the ratios as a table in Markdown."""
    lines = ["| what | BASE | HEAD | HEAD / BASE | 95 % |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {name} | {_short(it.base)} | {_short(it.head)} | {it.ratio:.3f}"
        f" | {it.low:.3f} to {it.high:.3f} |"
        for name, it in compared.items()
    ]
    return "\n".join(lines) + "\n"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"
