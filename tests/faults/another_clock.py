"""`python -m tests.faults.another_clock`: the app, in a process whose clock is wrong.

CLOCK_IS_OFF_BY says by how many hours; of several, each look at the clock takes one at random.
"""

import os
import random
from datetime import datetime, timedelta

import tables

right = tables.now
OFFSETS = [timedelta(hours=float(hours)) for hours in os.environ["CLOCK_IS_OFF_BY"].split()]


def wrong() -> datetime:
    return right() + random.choice(OFFSETS)  # noqa: S311 - a clock that jumps


# Before anything else of the app is imported, which takes it from there.
tables.now = wrong

import main  # noqa: E402

if __name__ == "__main__":
    main.serve()
