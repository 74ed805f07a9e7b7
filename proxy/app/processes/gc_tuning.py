"""What every process of the program does first."""

import gc


def tune_gc() -> None:
    """Let what is loaded by now stay, and look for cycles less often.

    What a request leaves behind is freed without the collector; to let it run less was worth a
    tenth of the full path.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
