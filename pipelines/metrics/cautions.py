"""What lists, sums and shares made of a metric's rows do not rest on: the metric's caution, put on each of their rows.

An analysis asks of the metrics that its numbers are made of and gives a frame with the columns `caution` and `reason`;
a sentence made of such a frame says them. What is lost is counted in `losses`; nothing is judged anew here.
"""

from typing import Any, NamedTuple

import pandas as pd

from pipelines.metrics import losses
from pipelines.metrics.answer import answer
from pipelines.metrics.question import ANYTHING, Question
from pipelines.warehouse.engine import Build
from pipelines.why import of_other, together, without_bounds


class Doubt(NamedTuple):
    """A code of what weakens numbers, and the sentence that says how; both empty where nothing does."""

    caution: str = ""
    reason: str = ""


def doubt_of(*answers: Any) -> Doubt:
    """Give what weakens the numbers made of the rows of these answers; what is not known at all says nothing.

    Between which bounds an answer lies is left out: what is made of its rows lies between others.
    """
    weak = [row for row in answers if row["caution"] or _is_partly_known(row)]
    caution = losses.joined_words(*(str(row["caution"]) or "coverage" for row in weak))
    return Doubt(caution, together(*dict.fromkeys(without_bounds(str(row["reason"])) for row in weak)))


def _is_partly_known(row: Any) -> bool:
    return bool(row["status"] != "ok" and 0 < row["coverage"] < 1 - losses.UNKNOWN)


def doubt(build: Build, question: Question = ANYTHING, *keys: str) -> Doubt:
    """Ask metrics what weakens the numbers made of their rows, over all of a question."""
    return doubt_of(*(answer(build, key, question).iloc[0] for key in keys))


def of_either(now: Doubt, before: Doubt) -> Doubt:
    """Give what weakens a comparison of two periods."""
    other = of_other("of_compared", "" if before.reason == now.reason else before.reason)
    return Doubt(losses.joined_words(now.caution, before.caution), together(now.reason, other))


def doubted(found: pd.DataFrame, said: Doubt) -> pd.DataFrame:
    """Put on each row of a list what weakens it: the columns caution and reason."""
    return found.assign(caution=said.caution, reason=said.reason)
