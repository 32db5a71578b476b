"""How long stages take, and which promises will be broken, where the returns centre does not stand still.

Days of a stage are asked of the returns of the last four weeks (`backhaul metric stage_days`), and held against how
long those that had been received really took. Risks of open promises (`rows` of `breach_risk`, by the documented API)
are held against what became of each, and so is the interval of the day of refund (`backhaul at-risk`). Legal dates are
left out: what moves them is not known that day.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import backhaul
from tests.evidence import Claim
from tests.evidence._worlds_asked import answers, ask, between, failed, is_labelled, loaded, share, whole
from tests.worlds import Shop, plain, stages
from tests.worlds.shop import DAY, end_of

SHOPS, LARGE_SHOPS = 100, 6
LINES, DAYS, LARGE_LINES = 10_000, 240, 120_000
BINS = 10
SHOWN = 0.75
"""Of open promises must have a risk, so that none is right by saying nothing."""
ENDS = {"refund": "refunded_at", "inspect": "inspected_at", "request_to_refund": "refunded_at"}
WORLDS: dict[str, Callable[..., Shop]] = {
    "nothing moves": plain.steady,
    "backlog growing threefold": stages.backlog,
    "Tuesdays": stages.tuesdays,
    "stories and dirt": stages.stories_and_dirt,
}


def asked(world: str, seed: int, folder: Path) -> dict[str, Any]:
    """Ask a shop for its stage and its open returns, and set beside each what came."""
    is_large = world == "stories and dirt"
    sizes = {"lines": LARGE_LINES} if is_large else {"lines": LINES, "days": DAYS, "future": 30}
    shop = WORLDS[world](seed, **sizes)
    at = loaded(shop, folder)
    end = end_of(shop.until)
    since = shop.until - timedelta(days=27)
    rows = ask(at, "metric", "stage_days", "--by", "stage", "--from", str(since), "--to", str(shop.until))
    stage = next(r for r in rows if r["stage"] == "received-inspected")
    lines = shop.sold()
    there = lines[(lines["requested_at"] >= np.datetime64(since, "s")) & (lines["received_at"] < end)]
    took = (there["inspected_at"] - there["received_at"]) / DAY
    p90 = stage["value"]
    return {
        "p90": p90,
        "labelled": is_labelled(stage),
        "why": stage["reason"],
        "held": None if p90 is None else float((took <= p90).mean()),
        "true_p90": float(took.quantile(0.9)),
        "received": len(there),
        "promised": [] if is_large else _promised(at, shop),
        **_open(at, lines),
    }


def _promised(at: Path, shop: Shop) -> list[Any]:
    """Ask which inspection could be promised today at nine in ten, and how often it is kept in the next two weeks.

    A row a market: returns received then, share of them kept, and whether the answer says that something is the matter.
    A promise of calendar days ends with the last of them, in UTC for a shop that names no other zone.
    """
    end = end_of(shop.until)
    lines = shop.lines[(shop.lines["received_at"] >= end) & (shop.lines["received_at"] < end + 14 * DAY)]
    took = (lines["inspected_at"].dt.normalize() - lines["received_at"].dt.normalize()) / DAY
    found = []
    for row in ask(at, "promise", "--promise", "inspect", "--at", "0.9"):
        here = (lines["country"] == row["market"]).to_numpy()
        if row["possible"] is not None and here.any():
            found.append([int(here.sum()), float((took[here] <= row["possible"]).mean()), is_labelled(row)])
    return found


def _open(at: Path, lines: pd.DataFrame) -> dict[str, Any]:
    """Ask for open returns: each promise's risk and whether it broke, and whether the refund came in its interval.

    risks: promise, probability, whether it broke, whether its answer says that something is the matter; `asked` is how
    many there would be if none lacked its probability. Promises of returns that were never handed over, or cancelled,
    are neither kept nor broken. dates: whether the refund came in
    its interval, whether it came by the day expected.
    """
    true = lines.set_index("line")
    if "cancelled_at" in true:
        true = true[true["is_returned"] | true["requested_at"].isna()]
    with backhaul.connect(at) as shop:
        said = shop.metric("breach_risk", by="promise_id")
        rows = shop.rows("breach_risk", limit=None)
    told = set(said.loc[said["why"].fillna("") != "", "promise_id"])
    rows = rows[rows["promise_id"].isin(list(ENDS))].assign(line=_lines(rows["return_id"]))
    rows = rows[rows["line"].isin(true.index)]
    asked, rows = len(rows), rows.dropna(subset=["probability"])
    risks = []
    for name, column in ENDS.items():
        here = rows[rows["promise_id"] == name]
        broken = ~(true.loc[here["line"], column].to_numpy() <= here["due_at"].to_numpy())
        risks += [[name, float(p), int(b), name in told] for p, b in zip(here["probability"], broken, strict=True)]
    refunds = pd.DataFrame(ask(at, "at-risk", "--limit", "1000000"))
    if refunds.empty:
        return {"asked": asked, "risks": risks, "dates": []}
    came = true["refunded_at"].reindex(_lines(refunds["return_id"])).reset_index(drop=True)
    early, expected, late = (
        pd.to_datetime(refunds[c], format="ISO8601").dt.tz_localize(None)
        for c in ("early_at", "expected_at", "late_at")
    )
    shown = came.notna() & early.notna()
    inside, by_then = (came >= early) & (late.isna() | (came <= late)), came <= expected
    labels = refunds[["caution", "reason"]].fillna("").ne("").any(axis=1)
    columns = (inside[shown], by_then[shown], labels[shown])
    return {"asked": asked, "risks": risks, "dates": [[bool(v) for v in row] for row in zip(*columns, strict=True)]}


def _lines(return_ids: "pd.Series[Any]") -> "pd.Series[Any]":
    return return_ids.str.extract(r"R(\d+)$")[0].astype(int)


def calibration(said: Any, came: Any) -> float:
    """Mean distance of what is said from what comes, over ten parts of what is said, by how many are in each."""
    said, came = np.asarray(said, float), np.asarray(came, float)
    part = np.minimum((said * BINS).astype(int), BINS - 1)
    off = [abs(said[part == i].mean() - came[part == i].mean()) * (part == i).sum() for i in np.unique(part)]
    return float(np.sum(off) / max(len(said), 1))


def claims() -> Iterator[Claim]:
    """Hold stages and risks of each world against the bars."""
    for world in WORLDS:
        is_large = world == "stories and dirt"
        found = answers(__name__, world, LARGE_SHOPS if is_large else SHOPS)
        shops = whole(found)
        if not is_large:
            yield _stage(world, shops, failed(found))
            yield _kept(world, shops, failed(found))
        yield from _risks(world, shops, failed(found))


def _stage(world: str, shops: list[Any], errors: str) -> Claim:
    shown = [a for a in shops if a["held"] is not None]
    held = float(np.average([a["held"] for a in shown], weights=[a["received"] for a in shown])) if shown else np.nan
    labelled = share(a["labelled"] for a in shops)
    off = float(np.mean([a["p90"] / a["true_p90"] - 1 for a in shown])) if shown else np.nan
    must_be_plain = world == "nothing moves"
    holds = between(held, 0.88, 0.92) and not (must_be_plain and labelled > 0.1)
    return Claim(
        f"Days from receipt to inspection, {world} ({len(shops)} shops): p90 holds",
        "88-92%" + (", labelled in at most 10%" if must_be_plain else ", or labelled in at least 90%"),
        f"{held:.1%} (p90 off by {off:+.0%}), labelled {labelled:.1%}{errors}",
        bool(not errors and (holds or (not must_be_plain and labelled >= 0.9))),
    )


def _kept(world: str, shops: list[Any], errors: str) -> Claim:
    rows = [row for a in shops for row in a["promised"]]
    kept = float(np.average([r[1] for r in rows], weights=[r[0] for r in rows])) if rows else np.nan
    labelled = share(r[2] for r in rows)
    must_be_plain = world == "nothing moves"
    is_true = kept >= 0.88 and not (must_be_plain and labelled > 0.1)
    return Claim(
        f"Inspection that could be promised at 90%, {world} ({len(rows)} markets): kept in the next two weeks",
        "at least 88%" + (", labelled in at most 10%" if must_be_plain else ", or labelled in at least 90%"),
        f"{kept:.1%}, labelled {labelled:.1%}{errors}",
        bool(rows and not errors and (is_true or (not must_be_plain and labelled >= 0.9))),
    )


def _risks(world: str, shops: list[Any], errors: str) -> Iterator[Claim]:
    risks = pd.DataFrame([r for a in shops for r in a["risks"]], columns=["promise", "said", "broken", "told"])
    if risks.empty:
        yield Claim(f"Risk of open promises, {world}", "said", f"none{errors}", False)
        return
    error = calibration(risks["said"], risks["broken"])
    each = {p: calibration(r["said"], r["broken"]) for p, r in risks.groupby("promise") if len(r) >= 200}
    told = share(risks["told"])
    worst = ", ".join(f"{name} {value:.3f}" for name, value in each.items())
    is_free = world in ("backlog growing threefold", "Tuesdays")
    shown = len(risks) / sum(a["asked"] for a in shops)
    holds = error <= 0.02 and all(e <= 0.03 for e in each.values()) and shown >= SHOWN
    yield Claim(
        f"Risk of open promises, {world} ({len(shops)} shops, {len(risks):,} open promises)",
        f"calibration error at most .02, each promise within .03, shown for at least {SHOWN:.0%}"
        + (", or labelled in at least 90%" if is_free else ""),
        f"{error:.3f} ({worst}), shown for {shown:.0%}; said {risks['said'].mean():.1%},"
        f" broken {risks['broken'].mean():.1%};"
        f" labelled {told:.1%}{errors}",
        bool(not errors and (holds or (is_free and told >= 0.9))),
    )
    dates = np.array([d for a in shops for d in a["dates"]], dtype=bool).reshape(-1, 3)
    covered, told = share(dates[:, 0]), share(dates[:, 2])
    yield Claim(
        f"Day of an open refund, {world} ({len(dates):,} open returns): its 80% interval holds the day it came",
        "74 to 86%" + (", or labelled in at least 90%" if is_free else ""),
        f"{covered:.1%}; {share(dates[:, 1]):.1%} by the day expected; labelled {told:.1%}{errors}",
        bool(not errors and (between(covered, 0.74, 0.86) or (is_free and told >= 0.9))),
    )
