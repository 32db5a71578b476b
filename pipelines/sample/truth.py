"""What the shop knows and its files do not: final outcomes, true rates, stage times, dirt and stories.

Written beside the files for tests and for coverage of intervals; never read by a load.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.sample.draws import DAY, Array, with_whole
from pipelines.sample.files import times, words
from pipelines.sample.shop import HEADLINE, PARCEL, TILL, TOTE, VOID, told_style
from pipelines.sample.simulation import Simulation, sku, sku_names

KINDS = ("headline", "conformity", "seller_error", "refused", "uncollected", "void")
STAGES = {
    "requested-approved": ("requested", "approved"),
    "approved-label_issued": ("approved", "label"),
    "label_issued-handed_over": ("label", "handed"),
    "handed_over-carrier_scan": ("handed", "scanned"),
    "carrier_scan-received": ("scanned", "received"),
    "received-inspected": ("received", "inspected"),
    "inspected-refunded": ("inspected", "refunded"),
    "requested-refunded": ("requested", "refunded"),
    "requested-confirmed": ("requested", "confirmed"),
}
"""The stages of a return and the columns of their two ends."""


@dataclass
class Outcome:
    """What each order line sold and what of it comes back as a headline return, in units; `counted` lines make rates.

    `requested` and `confirmed` are when its return is asked for and certain, in seconds, infinity without one.
    """

    sold: Array
    back: Array
    counted: Array
    requested: Array
    confirmed: Array


def write_truth(folder: Path, s: Simulation, planted: list[tuple[str, str, int]]) -> None:
    """Write `order_line`, `product_month`, `category_country`, `stage_time`, `dirt` and `story` as Parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    s = replace(s, lines=with_whole(s.lines, np.int64), result=with_whole(s.result, np.int64))
    outcome = _outcome(s)
    _save(folder / "order_line.parquet", _order_lines(s, outcome))
    _save(folder / "product_month.parquet", _product_months(s, outcome))
    _save(folder / "category_country.parquet", _category_countries(s, outcome))
    _save(folder / "stage_time.parquet", _stage_times(s))
    _save(
        folder / "dirt.parquet",
        {"file": [f for f, _, _ in planted], "dirt": [d for _, d, _ in planted], "rows": [c for _, _, c in planted]},
    )
    figures = [
        (story, figure, value)
        for story, figures_of in STORIES.items()
        if story in s.world.stories
        for figure, value in figures_of(s, outcome).items()
    ]
    _save(
        folder / "story.parquet",
        {"story": [f[0] for f in figures], "figure": [f[1] for f in figures], "value": [float(f[2]) for f in figures]},
    )


def _outcome(s: Simulation) -> Outcome:
    lines, n = s.lines, len(s.lines["order"])
    confirmed, requested = np.full(n, np.inf), np.full(n, np.inf)
    real = np.flatnonzero((s.rows["stray"] == 0) & (s.rows["kind"] != VOID))
    confirmed[s.rows["line"][real]] = s.back["confirmed"][s.rows["of"][real]]
    requested[s.rows["line"][real]] = s.back["requested"][s.rows["of"][real]]
    sold = np.maximum(lines["units"] - lines["cancelled"], 0)
    counted = (lines["exchanged_from"] < 0) & (sold > 0)
    back = np.where(s.result["kind"] == HEADLINE, s.result["returned"], 0)
    return Outcome(sold, back, counted, requested, confirmed)


def _ordered_months(s: Simulation) -> Array:
    month: Array = s.lines["ordered_at"].astype("M8[s]").astype("M8[M]")
    return month


def _order_lines(s: Simulation, outcome: Outcome) -> dict[str, object]:
    """Give each order line's final outcome and the probability it was drawn with."""
    lines, result, world = s.lines, s.result, s.world
    ids = [f"{o}-{k}" for o, k in zip(lines["order_no"].tolist(), lines["line_no"].tolist(), strict=True)]
    return {
        "order_line_id": pa.array(ids),
        "ordered_month": pa.array(_ordered_months(s).astype("M8[D]")),
        "product_id": words(sku(lines), sku_names(s)),
        "category": words(lines["category"], world.categories),
        "country": words(lines["market"], world.markets),
        "units_sold": outcome.sold,
        "probability": result["chance"],
        "units_returned": np.where(result["kind"] == VOID, 0, result["returned"]),
        "kind": words(result["kind"], KINDS),
        "is_exchange": lines["exchanged_from"] >= 0,
        "requested_at": times(outcome.requested),
        "confirmed_at": times(outcome.confirmed),
        "is_confirmed_by_end": outcome.confirmed <= world.end,
        "is_from_longer_window": result["is_extra"],
    }


def _rates_by(s: Simulation, outcome: Outcome, group: Array) -> tuple[Array, dict[str, object]]:
    """Give the groups of the counted lines, and the units and rates of each."""
    counted, back = outcome.counted, outcome.back
    units = {
        "units_sold": outcome.sold,
        "expected": outcome.sold * s.result["chance"],
        "units_returned": back,
        "confirmed": np.where(outcome.confirmed <= s.world.end, back, 0),
    }
    key, sums = _sums(group[counted], {name: values[counted] for name, values in units.items()})
    return key, _rates(sums)


def _product_months(s: Simulation, outcome: Outcome) -> dict[str, object]:
    """Give the rates of each style in each month of order."""
    month = _ordered_months(s)
    first = month.min() if len(month) else np.datetime64("1970-01")
    style_id = np.array([name.split("-")[0] for name in sku_names(s)[::32]])
    month_no = month.astype(np.int64) - first.astype(np.int64)
    key, rates = _rates_by(s, outcome, s.lines["style"] * 1000 + month_no)
    return {
        "style_id": pa.array(style_id[key // 1000]),
        "ordered_month": pa.array((first + key % 1000).astype("M8[D]")),
        **rates,
    }


def _category_countries(s: Simulation, outcome: Outcome) -> dict[str, object]:
    """Give the rates of each category in each country."""
    key, rates = _rates_by(s, outcome, s.lines["category"] * 1000 + s.lines["market"])
    return {
        "category": words(key // 1000, s.world.categories),
        "country": words(key % 1000, s.world.markets),
        **rates,
    }


def _stage_times(s: Simulation) -> dict[str, list[object]]:
    """Give the days of each stage by way and lane, where 30 returns and more have it."""
    b, stages = s.back, []
    home = s.lines["market"][b["line"]] == s.world.markets.index("FR")
    headline = (b["kind"] == HEADLINE) & (b["stray"] == 0)
    for name, (start, finish) in STAGES.items():
        for way, label in ((PARCEL, "parcel"), (TOTE, "tote")):
            for lane, mask in (("domestic", home), ("cross_border", ~home)):
                mine = headline & mask & (b["way"] == way) & np.isfinite(b[start]) & np.isfinite(b[finish])
                days = (b[finish][mine] - b[start][mine]) / DAY
                if len(days) >= 30:
                    quantiles = np.quantile(days, [0.5, 0.8, 0.9, 0.95]).tolist()
                    stages.append((name, label, lane, len(days), float(days.mean()), *quantiles))
    columns = [list(column) for column in zip(*stages, strict=True)] if stages else [[] for _ in range(9)]
    names = ("stage", "way", "lane", "returns", "mean_days", "p50_days", "p80_days", "p90_days", "p95_days")
    return dict(zip(names, columns, strict=True))


def _save(path: Path, columns: Mapping[str, object]) -> None:
    pq.write_table(pa.table(columns), path)


def _sums(key: Array, values: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    found, at = np.unique(key, return_inverse=True)
    return found, {name: np.bincount(at, column, len(found)) for name, column in values.items()}


def _rates(sums: dict[str, Array]) -> dict[str, object]:
    return {
        "units_sold": sums["units_sold"].astype(np.int64),
        "units_returned": sums["units_returned"].astype(np.int64),
        "units_confirmed_by_end": sums["confirmed"].astype(np.int64),
        "true_rate": sums["expected"] / sums["units_sold"],
        "final_rate": sums["units_returned"] / sums["units_sold"],
    }


def _mean(values: Array) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def _rate(outcome: Outcome, mask: Array) -> float:
    """Give the units returned of the units sold, on the counted lines of a mask."""
    mask = mask & outcome.counted
    return float(outcome.back[mask].sum() / max(outcome.sold[mask].sum(), 1))


def _is_headline(s: Simulation) -> Array:
    is_headline: Array = (s.back["kind"] == HEADLINE) & (s.back["stray"] == 0)
    return is_headline


def _robe_alba(s: Simulation, outcome: Outcome) -> dict[str, float]:
    """Give Robe Alba's units and rates before and after its size note, and the share of too small before."""
    world, story, rows = s.world, s.world.stories["robe_alba"], s.rows
    mine = s.lines["style"] == told_style(world, s.styles, "robe_alba")
    noted = s.lines["ordered_at"] >= world.since("robe_alba", story["note_weeks"])
    small = list(world.parameters["wordings"]).index("size_small")
    is_return = (rows["kind"] == HEADLINE) & (rows["stray"] == 0) & (rows["reason"] >= 0)
    before = is_return & mine[rows["line"]] & ~noted[rows["line"]]
    return {
        "begins_at": world.since("robe_alba", story["on_sale_weeks"]),
        "note_at": world.since("robe_alba", story["note_weeks"]),
        "units_before": float(outcome.sold[mine & ~noted].sum()),
        "units_after": float(outcome.sold[mine & noted].sum()),
        "rate_before": _rate(outcome, mine & ~noted),
        "rate_after": _rate(outcome, mine & noted),
        "too_small_before": _mean(rows["reason"][before] == small),
    }


def _decoy(s: Simulation, outcome: Outcome) -> dict[str, float]:
    """Give the decoy's units sold and returned."""
    mine = s.lines["style"] == told_style(s.world, s.styles, "decoy")
    return {
        "begins_at": s.world.since("decoy"),
        "units": float(outcome.sold[mine].sum()),
        "returned": float(outcome.back[mine].sum()),
    }


def _noise(s: Simulation, outcome: Outcome) -> dict[str, float]:
    """Give the noisy style's units and rate in the earlier and the later weeks."""
    mine, when = s.lines["style"] == told_style(s.world, s.styles, "noise"), s.lines["ordered_at"]
    edges = [s.world.since("noise", weeks) for weeks in s.world.stories["noise"]["weeks"]]
    figures: dict[str, float] = {}
    for label, low, high in (("before", edges[0], edges[1]), ("after", edges[1], edges[2])):
        part = mine & (when >= low) & (when < high)
        figures[f"units_{label}"] = float(outcome.sold[part].sum())
        figures[f"returned_{label}"] = float(outcome.back[part].sum())
        figures[f"rate_{label}"] = _rate(outcome, part)
    return figures


def _relais_atlantique(s: Simulation, outcome: Outcome) -> dict[str, float]:
    """Give the slow carrier's parcels, days to first scan, missing scans and losses before and after."""
    world, b = s.world, s.back
    carrier = list(world.parameters["carriers"]).index(world.stories["relais_atlantique"]["carrier"])
    theirs = _is_headline(s) & (b["carrier"] == carrier) & (b["way"] == PARCEL)
    later = b["handed"] >= world.since("relais_atlantique")
    figures: dict[str, float] = {}
    for label, part in (("before", theirs & ~later), ("after", theirs & later)):
        scanned = part & ~b["is_missed"]
        figures[f"parcels_{label}"] = float(part.sum())
        figures[f"first_scan_days_{label}"] = _mean((b["scanned"] - b["handed"])[scanned] / DAY)
        figures[f"missing_{label}"] = _mean(b["is_missed"][part])
        figures[f"lost_{label}"] = _mean(np.isfinite(b["lost"][part]))
    return figures | {"begins_at": world.since("relais_atlantique")}


def _january_backlog(s: Simulation, outcome: Outcome) -> dict[str, float]:
    """Give inflow and throughput of the returns centre in the backlog over the usual inflow, and what waits."""
    b, end, begin = s.back, s.world.end, s.world.since("january_backlog")
    inflow = b["way"] != TILL
    before = inflow & (b["received"] >= begin - 91 * DAY) & (b["received"] < begin)
    during = inflow & (b["received"] >= begin) & (b["received"] <= end)
    waiting = inflow & (b["received"] <= end) & (b["inspected"] > end)
    done = inflow & (b["inspected"] >= begin) & (b["inspected"] <= end) & (b["received"] >= begin)
    usual, days = before.sum() / 91, (end - begin) / DAY
    return {
        "begins_at": begin,
        "inflow": float(during.sum() / days / max(usual, 1e-9)),
        "throughput": float(done.sum() / days / max(usual, 1e-9)),
        "waiting_at_end": float(waiting.sum()),
        "waiting_usually": float(usual * 2.9),
    }


def _germany_window(s: Simulation, outcome: Outcome) -> dict[str, float]:
    """Give Germany's rate and share of several-size orders before and after the longer window."""
    lines, world = s.lines, s.world
    german = lines["market"] == world.markets.index(world.stories["germany_window"]["market"])
    later = lines["ordered_at"] >= world.since("germany_window")
    heads = (lines["line_no"] == 1) & (lines["exchanged_from"] < 0)
    figures: dict[str, float] = {}
    for label, part in (("before", german & ~later), ("after", german & later)):
        figures[f"rate_{label}"] = _rate(outcome, part)
        figures[f"several_sizes_{label}"] = _mean(lines["pair"][heads & part] >= 0)
    return figures | {"begins_at": world.since("germany_window")}


def _tote_story(s: Simulation, outcome: Outcome) -> dict[str, float]:
    """Give the share of returns that travel in totes, and the days they take more than parcels."""
    world, b = s.world, s.back
    french = s.lines["market"][b["line"]] == world.markets.index(world.stories["totes"]["market"])
    after = _is_headline(s) & french & (b["requested"] >= world.since("totes"))
    days = (b["received"] - b["scanned"]) / DAY
    parcel, tote = (after & (b["way"] == way) & np.isfinite(b["received"]) for way in (PARCEL, TOTE))
    return {
        "begins_at": world.since("totes"),
        "share": _mean(b["way"][after] == TOTE),
        "extra_days": _mean(days[tote]) - _mean(days[parcel]),
    }


def _mix(s: Simulation, outcome: Outcome) -> dict[str, float]:
    """Give the share of the category that grows, in units sold, before and after."""
    world, sold, counted = s.world, outcome.sold, outcome.counted
    moved = s.lines["category"] == world.categories.index(world.stories["mix"]["category"])
    later = s.lines["ordered_at"] >= world.since("mix")
    return {
        "begins_at": world.since("mix"),
        "share_before": float(sold[moved & ~later & counted].sum() / sold[~later & counted].sum()),
        "share_after": float(sold[moved & later & counted].sum() / sold[later & counted].sum()),
    }


STORIES: dict[str, Callable[[Simulation, Outcome], dict[str, float]]] = {
    "robe_alba": _robe_alba,
    "decoy": _decoy,
    "noise": _noise,
    "relais_atlantique": _relais_atlantique,
    "january_backlog": _january_backlog,
    "germany_window": _germany_window,
    "totes": _tote_story,
    "mix": _mix,
}
"""Story by story, the figures that came out of the draw; `begins_at` in seconds from 1970."""
