"""Sums, ratios and shares with their intervals and coverage."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import select

from models import rates as rate_models
from pipelines.metrics.compiler import chosen_sums
from pipelines.metrics.declare import BoundQuestion, Finish
from pipelines.metrics.question import ALIASES, time_grain
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from pipelines.why import together, why

PARTIAL = 0.01  # share of legs without an answer above which a total of emissions is greyed


def groups_of(frame: pd.DataFrame, by: tuple[str, ...]) -> tuple[np.ndarray[Any, Any], pd.DataFrame]:
    """Give each row its group's number, from 0 in order of the keys, and the keys of each group.

    No `by` is one group.
    """
    if not by:
        return np.zeros(len(frame), dtype=np.int64), pd.DataFrame(index=[0])
    grouped = frame.groupby(list(by), dropna=False, sort=True)
    number = grouped.ngroup().to_numpy()
    keys = frame[list(by)].assign(_group=number).drop_duplicates("_group").sort_values("_group").drop(columns="_group")
    return number, keys.reset_index(drop=True)


def summed(frame: pd.DataFrame, by: tuple[str, ...], columns: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sum columns per group: (keys, sums); a missing sum is 0."""
    number, keys = groups_of(frame, by)
    values = {c: np.bincount(number, frame[c].fillna(0).to_numpy(float), len(keys)) for c in columns}
    return keys, pd.DataFrame(values)


def answer_frame(
    keys: pd.DataFrame, value: Any, low: Any = np.nan, high: Any = np.nan, n: Any = np.nan, reason: Any = ""
) -> pd.DataFrame:
    """Lay value, interval, count and the reason why there is no number beside the keys.

    A `caution` is a code of what weakens the number, `note` says it or another thing in words; `stands` shows the value
    in spite of a reason, `coverage` is the share of its rows that it rests on.
    """
    return keys.assign(
        value=value, low=low, high=high, n=n, reason=reason, caution="", note="", coverage=1.0, stands=False
    )


def total(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Give the only measure as it is; n is it too when it counts."""
    name = ask.metric.measures[0].name
    columns = [m.name for m in ask.metric.measures]
    keys, sums = summed(frame, ask.by, columns)
    counts = ask.metric.unit in ("units", "count")
    return answer_frame(keys, sums[name], n=sums["n"] if "n" in sums else sums[name] if counts else np.nan)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Divide two measures; `interval` adds Wilson's, on orders' design effect when `clustered`.

    n is the denominator when it is `counted`, or a measure named n.
    """

    numerator: str
    denominator: str
    interval: bool = False
    clustered: bool = True
    per: float = 1.0
    counted: bool = True
    nothing: str

    def __call__(self, frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
        """Give each group's ratio."""
        columns = [self.numerator, self.denominator, *(["n"] if "n" in frame else [])]
        keys, sums = summed(frame, ask.by, list(dict.fromkeys(columns)))
        top, bottom = sums[self.numerator].to_numpy(), sums[self.denominator].to_numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(bottom != 0, self.per * top / bottom, np.nan)
        low = high = np.full(len(keys), np.nan)
        if self.interval:
            effect = design_effect(build) if self.clustered else 1.0
            low, high = rate_models.wilson(
                np.clip(top, 0, np.maximum(bottom, 0)), np.maximum(bottom, 0), ask.level, effect
            )
            low, high = np.minimum(low, value), np.maximum(high, value)
        n = sums.get("n", bottom if self.counted else np.nan)
        return answer_frame(keys, value, low, high, n, np.where(bottom != 0, "", self.nothing))


def ratio_of(numerator: str, denominator: str, *, nothing: str, **how: Any) -> Ratio:
    """Divide two measures, as `Ratio` does."""
    return Ratio(numerator=numerator, denominator=denominator, nothing=nothing, **how)


def flagged(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Give the share of lines marked as returned.

    Where whole orders are marked it is an upper bound, and one line of each the lower.
    """
    keys, sums = summed(frame, ask.by, ["flagged", "sold", "of_orders", "orders"])
    marked, sold, by_order = (sums[c].to_numpy() for c in ("flagged", "sold", "of_orders"))
    least = marked - by_order + sums["orders"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(sold > 0, marked / sold, np.nan)
    effect = design_effect(build)
    low, high = (
        rate_models.wilson(least, sold, ask.level, effect)[0],
        rate_models.wilson(marked, sold, ask.level, effect)[1],
    )
    is_bound = (by_order > sums["orders"].to_numpy()) & (sold > 0)
    said = [
        why("upper_bound", n=int(o), of=int(m)) if b else "" for m, o, b in zip(marked, by_order, is_bound, strict=True)
    ]
    found = answer_frame(keys, value, low, high, sold, np.where(sold > 0, "", why("nothing_sold")))
    return found.assign(note=said, caution=np.where(is_bound, "upper_bound", ""))


def ranged(value: str, low: str, high: str) -> Finish:
    """Give one measure as it is, between two others."""

    def finish(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
        keys, sums = summed(frame, ask.by, [value, low, high])
        return answer_frame(keys, sums[value], sums[low], sums[high])

    return finish


def covered(finish: Finish) -> Finish:
    """Say of how many legs the emissions are not known; a missing factor is a missing answer, never zero.

    The value is of the legs that are covered. Beyond `PARTIAL` of them missing it is greyed, and stands for what it is.
    While a factor is used that is far from those that ship, it carries the caution "factor".
    """

    def covering(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
        found = finish(frame, ask, build)
        _, sums = summed(frame, ask.by, ["legs", "unknown"])
        what = {"legs": "legs", "lot_carbon": "returned lots with all their legs"}[
            chosen_sums(ask, "legs")[0].base.name
        ]
        legs, unknown = sums["legs"].to_numpy(), sums["unknown"].to_numpy()
        withheld = (unknown > PARTIAL * legs) & (found["reason"] == "").to_numpy()
        said = [
            why("without_legs", n=int(u), of=int(n), what=what) if u else "" for n, u in zip(legs, unknown, strict=True)
        ]
        only = [why("only_legs", n=int(n - u), of=int(n), what=what) for n, u in zip(legs, unknown, strict=True)]
        answered = found.assign(
            reason=np.where(withheld, only, found["reason"]),
            note=np.where(withheld, "", said),
            stands=withheld,
            coverage=np.where(legs > 0, 1 - unknown / np.maximum(legs, 1), 1.0),
        )
        if odd := _implausible(build):
            far = why("odd_factors", names=", ".join(odd))
            answered["caution"] = answered["caution"].mask(answered["value"].notna(), "factor")
            answered["note"] = [together(note, far) for note in answered["note"]]
        return answered

    return covering


def _implausible(build: Build) -> list[str]:
    """List the factors this build uses that are far from those that ship, once a build."""
    if "implausible" not in build.cache:
        listed = json.loads(build.info.get("implausible_factors", "[]"))
        column = STAR.tables["factor_set"].c.factor_id
        used = build.fetch(select(column).where(column.in_(listed)))["factor_id"].tolist() if listed else []
        build.cache["implausible"] = sorted(set(used))
    found: list[str] = build.cache["implausible"]
    return found


def share_of_whole(name: str, of: tuple[str, ...] | None, nothing: str, *, interval: bool = True) -> Finish:
    """Give each group's part of the whole: of the groups that differ only in `of` (in everything but time when None).

    What is summed counts units or lines where an `interval` is given.
    """

    def finish(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
        keys, sums = summed(frame, ask.by, [name])
        split = [b for b in ask.by if (not time_grain(b) if of is None else ALIASES.get(b, b) in of)]
        fixed = [b for b in ask.by if b not in split]
        whole = (
            keys.assign(x=sums[name]).groupby(fixed, dropna=False)["x"].transform("sum") if fixed else sums[name].sum()
        )
        if not split:
            wanted = "a dimension" if of is None else " or ".join(of)
            return answer_frame(keys, np.nan, n=sums[name], reason=why("whole", names=wanted))
        whole_array = np.broadcast_to(np.asarray(whole, dtype=float), (len(keys),))
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(whole_array > 0, sums[name] / whole_array, np.nan)
        if not interval:
            return answer_frame(keys, value, n=whole_array, reason=np.where(whole_array > 0, "", nothing))
        low, high = rate_models.wilson(np.clip(sums[name], 0, None), whole_array, ask.level, design_effect(build))
        return answer_frame(keys, value, low, high, whole_array, np.where(whole_array > 0, "", nothing))

    return finish


def balance(small: str, large: str, nothing: str) -> Finish:
    """Give (small - large) / (small + large), with Wilson's interval of the share moved to -1..1."""

    def finish(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
        keys, sums = summed(frame, ask.by, [small, large])
        a, n = sums[small].to_numpy(), (sums[small] + sums[large]).to_numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(n > 0, 2 * a / n - 1, np.nan)
        low, high = rate_models.wilson(a, n, ask.level, design_effect(build))
        return answer_frame(keys, value, 2 * low - 1, 2 * high - 1, n, np.where(n > 0, "", nothing))

    return finish


def priors(build: Build) -> pd.DataFrame:
    """Read the build's priors once."""
    if "priors" not in build.cache:
        build.cache["priors"] = build.fetch(select(STAR.tables["estimate_rate_prior"]))
    found: pd.DataFrame = build.cache["priors"]
    return found


def design_effect(build: Build) -> float:
    """Give the build's design effect of orders, all categories together; 1 when none was fitted."""
    found = priors(build)
    fitted = found.loc[found["category"].isna(), "deff"].dropna()
    return float(max(fitted.iloc[0], 1.0)) if len(fitted) else 1.0
