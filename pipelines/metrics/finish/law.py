"""What the law adds, with the rates it rests on."""

import numpy as np
import pandas as pd

from pipelines.metrics.declare import BoundQuestion
from pipelines.metrics.finish.shares import answer_frame, summed
from pipelines.warehouse.engine import Build
from pipelines.why import why


def surcharge(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Give the sum, and say what part of it is interest at a rate that is not the one of its days."""
    keys, sums = summed(frame, ask.by, ["surcharge", "assumed"])
    part = np.divide(sums["assumed"], sums["surcharge"], out=np.zeros(len(sums)), where=sums["surcharge"] > 0)
    found = answer_frame(keys, sums["surcharge"])
    note = [why("assumed_rate", share=p) if p > 0 else "" for p in part]
    return found.assign(note=note, caution=np.where(part > 0, "assumed_rate", ""))
