"""`make mutants`, its second half: how many changed programs the tests told from the right one.

A module under 90 % fails. What mutmut calls a timeout or a suspicious end counts as told.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Final

ENOUGH: Final = 0.9
_SURVIVED: Final = 0  # the exit status of tests that noticed nothing
_NOT_COVERED: Final = 33  # mutmut's own number: no test runs this line


def main() -> int:
    """Print killed and all mutants of each module; 1 if one of them has too many survivors."""
    killed: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for file in sorted(Path("mutants/proxy").rglob("*.meta")):
        module = str(file.relative_to("mutants")).removesuffix(".meta")
        for status in json.loads(file.read_text())["exit_code_by_key"].values():
            if status is None:
                continue  # not run
            every[module] += 1
            killed[module] += status not in {_SURVIVED, _NOT_COVERED}
    for module, count in every.items():
        share = killed[module] / count
        sys.stdout.write(f"{module}: {killed[module]} of {count} ({share:.0%})\n")
    total, all_killed = sum(every.values()), sum(killed.values())
    sys.stdout.write(f"all: {all_killed} of {total} ({all_killed / max(total, 1):.0%})\n")
    return int(not every or any(killed[it] < ENOUGH * every[it] for it in every))


if __name__ == "__main__":
    sys.exit(main())
