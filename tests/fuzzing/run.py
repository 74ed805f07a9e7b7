"""`make fuzz`: a million inputs for each target, from a seed that is printed.

python -m tests.fuzzing.run [--inputs N] [--seed N]
"""

import argparse
import secrets
import sys
import time

from tests.fuzzing.mutations import Mutations
from tests.fuzzing.targets import TARGETS


def main() -> int:
    """Fuzz every target; the first broken promise ends it, with the seed that shows it again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    asked = parser.parse_args()
    sys.stdout.write(f"seed {asked.seed}\n")
    for name, target in TARGETS.items():
        mutations = Mutations(asked.seed)
        began = time.monotonic()
        for _ in range(asked.inputs):
            target(mutations)
        seconds = time.monotonic() - began
        sys.stdout.write(f"{name}: {asked.inputs:,} inputs in {seconds:.0f} s, 0 broken promises\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
