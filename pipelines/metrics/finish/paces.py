"""The alarm of waits: answers that rest on waits which no longer end at the pace they did carry a caution.

`estimate_stage_pace` holds the comparison; here it is put on the answers that are about the days up to now.
"""

from collections.abc import Collection, Iterable
from datetime import timedelta

import pandas as pd
from sqlalchemy import select

from pipelines.metrics import losses
from pipelines.metrics.declare import BoundQuestion
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from pipelines.why import together, why

CAUTION = "stage_pace"


def paces(build: Build) -> pd.DataFrame:
    """Read once a build the stages whose waits end at another pace than before, the surest first."""
    if "paces" not in build.cache:
        found = build.fetch(select(STAR.tables["estimate_stage_pace"]))
        found = found[found["is_drifting"].astype(bool)].sort_values("z", key=abs, ascending=False)
        build.cache["paces"] = found
    kept: pd.DataFrame = build.cache["paces"]
    return kept


def ends_of(build: Build, promise_ids: Collection[str] | None = None) -> set[str]:
    """Give the stages that promises end with; those of all promises where none is named."""
    if "promise_ends" not in build.cache:
        c = STAR.tables["estimate_promise"].c
        build.cache["promise_ends"] = build.fetch(select(c.promise_id, c.to_stage).distinct())
    found = build.cache["promise_ends"]
    mine = found if promise_ids is None else found[found["promise_id"].isin(list(promise_ids))]
    return set(mine["to_stage"].dropna())


def said(build: Build, ask: BoundQuestion, stages: Collection[str] = (), ends: Collection[str] = ()) -> str:
    """Say which wait is at another pace, of pairs of stages or of those that end with a stage; else nothing.

    Nothing is said of days that ended before the weeks that were compared.
    """
    on = paces(build)
    chosen = ask.where.get("source", ())
    sources = (chosen,) if isinstance(chosen, str) else tuple(chosen)
    on = on[on["source"].isin(sources)] if sources else on
    for row in on.to_dict("records"):
        stage = str(row["stage"])
        if stage not in stages and stage.rpartition("-")[2] not in ends:
            continue
        since = pd.Timestamp(row["until_at"]) - timedelta(days=7 * int(row["weeks"]))
        if (ask.until is not None and ask.until < since.date()) or (ask.as_of is not None and ask.as_of < since):
            continue
        return why("stage_pace", stage=stage, factor=float(row["factor"]))
    return ""


def marked(found: pd.DataFrame, sentences: Iterable[str]) -> pd.DataFrame:
    """Put a sentence a row on answers that are known: the caution, and what the note says more."""
    own = [s if not reason else "" for s, reason in zip(sentences, found["reason"], strict=True)]
    notes = found["note"] if "note" in found else [""] * len(found)
    cautions = found["caution"] if "caution" in found else [""] * len(found)
    return found.assign(
        note=[together(note, s) for note, s in zip(notes, own, strict=True)],
        caution=[losses.joined_words(c, CAUTION if s else "") for c, s in zip(cautions, own, strict=True)],
    )
