"""How long a load still takes, from what its steps took so far and what share of such a load they usually are.

The shares are those of this warehouse's last load of the kind, else what was measured on a sample shop. An estimate is
two bounds, wider where nothing is known of this warehouse, and is left out where it would be a guess: before a fifth of
the work is done, and of loads of seconds.
"""

import json
import time
from collections.abc import Callable
from typing import Any

from pipelines.load.report import Progress, Step
from pipelines.warehouse import state
from pipelines.why import SENTENCES

MEASURED = {
    "step_landing": 0.04,
    "step_judging": 0.20,
    "step_logs": 0.01,
    "step_shaping": 0.19,
    "step_estimating": 0.46,
    "step_checking": 0.02,
    "step_publishing": 0.03,
    "step_alerts": 0.05,
}
"""Steps in their order, and their share of the time of a first load, between those of 15,000 and 300,000 lines."""
UNKNOWN, KNOWN = (0.5, 2.0), (0.7, 1.5)  # bounds by what is known of earlier loads, times the middle
LEAST_SHARE, LEAST_S = 0.2, 5.0  # of a load that is done before anything is said of the rest
_STARTS = {SENTENCES[step].partition("{")[0]: step for step in MEASURED}


class Pace:
    """Hears the steps of a load, and says each with the seconds that are left."""

    def __init__(
        self, said: Progress, known: dict[str, float] | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.spent = dict.fromkeys(MEASURED, 0.0)
        self._said, self._clock = said, clock
        self._shares, self._bounds = (known, KNOWN) if known else (MEASURED, UNKNOWN)
        self._step, self._since = "", clock()

    def __call__(self, text: str) -> None:
        """Say that a step begins."""
        self.end()
        self._step = next((step for start, step in _STARTS.items() if text.startswith(start)), "")
        self._said(Step(text, self._left()))

    def end(self) -> None:
        """End the step that runs."""
        now = self._clock()
        if self._step:
            self.spent[self._step] += now - self._since
        self._step, self._since = "", now

    def _left(self) -> tuple[float, float] | None:
        steps = list(MEASURED)
        place = steps.index(self._step) if self._step else 0
        spent = sum(self.spent[step] for step in steps[:place])
        done, rest = (sum(self._shares.get(s, 0.0) for s in some) for some in (steps[:place], steps[place:]))
        if spent < LEAST_S or done < LEAST_SHARE * (done + rest):
            return None
        least, most = self._bounds
        return spent * rest / done * least, spent * rest / done * most


def timed(said: Progress, state_file: state.State, kind: str) -> Pace:
    """Give the pace of a load of a kind, with what is known of the last one."""
    return Pace(said, _known(state_file).get(kind))


def keep(pace: Pace, state_file: state.State, kind: str) -> None:
    """Remember what the steps of a load took, the last of which ends, unless it was one of seconds."""
    pace.end()
    if sum(pace.spent.values()) >= LEAST_S:
        spent = {step: round(seconds, 3) for step, seconds in pace.spent.items()}
        state_file.remember("pace", json.dumps(_known(state_file) | {kind: spent}))


def _known(state_file: state.State) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(state_file.value("pace") or "{}")
    return found
