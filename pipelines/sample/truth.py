"""What the shop knows and its files do not: final outcomes, true rates, stage times, dirt and stories.

Written beside the files for tests and for coverage of intervals; never read by a load.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.sample.draws import DAY, Array
from pipelines.sample.files import times, words
from pipelines.sample.shop import HEADLINE, PARCEL, TILL, TOTE, VOID, told_style
from pipelines.sample.simulation import Simulation, sku, sku_names

KINDS = ("headline", "conformity", "seller_error", "refused", "uncollected", "void")


def write_truth(folder: Path, s: Simulation, planted: list[tuple[str, str, int]]) -> None:
    """Write `order_line`, `product_month`, `category_country`, `stage_time`, `dirt` and `story` as Parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    lines, result, world = s.lines, s.result, s.world
    n = len(lines["order"])
    confirmed, requested, style_of = np.full(n, np.inf), np.full(n, np.inf), lines["style"]
    real = np.flatnonzero((s.rows["stray"] == 0) & (s.rows["kind"] != VOID))
    confirmed[s.rows["line"][real]] = s.back["confirmed"][s.rows["of"][real]]
    requested[s.rows["line"][real]] = s.back["requested"][s.rows["of"][real]]
    sold = np.maximum(lines["units"] - lines["cancelled"], 0)
    counted = (lines["exchanged_from"] < 0) & (sold > 0)
    back = np.where(result["kind"] == HEADLINE, result["returned"], 0)
    ids = [f"{o}-{k}" for o, k in zip(lines["order_no"].tolist(), lines["line_no"].tolist(), strict=True)]
    month = lines["ordered_at"].astype("M8[s]").astype("M8[M]")
    _save(
        folder / "order_line.parquet",
        {
            "order_line_id": pa.array(ids),
            "ordered_month": pa.array(month.astype("M8[D]")),
            "product_id": words(sku(lines), sku_names(s)),
            "category": words(lines["category"], world.categories),
            "country": words(lines["market"], world.markets),
            "units_sold": sold,
            "probability": result["chance"],
            "units_returned": np.where(result["kind"] == VOID, 0, result["returned"]),
            "kind": words(result["kind"], KINDS),
            "is_exchange": lines["exchanged_from"] >= 0,
            "requested_at": times(requested),
            "confirmed_at": times(confirmed),
            "is_confirmed_by_end": confirmed <= world.end,
            "is_from_longer_window": result["is_extra"],
        },
    )
    rate_of = {
        "units_sold": sold,
        "expected": sold * result["chance"],
        "units_returned": back,
        "confirmed": np.where(confirmed <= world.end, back, 0),
    }
    month_no = month.astype(np.int64) - month.astype(np.int64).min() if n else month.astype(np.int64)
    first = month.min() if n else np.datetime64("1970-01")
    style_id = np.array([name.split("-")[0] for name in sku_names(s)[::32]])
    key, sums = _sums((style_of * 1000 + month_no)[counted], {k: v[counted] for k, v in rate_of.items()})
    _save(
        folder / "product_month.parquet",
        {
            "style_id": pa.array(style_id[key // 1000]),
            "ordered_month": pa.array((first + key % 1000).astype("M8[D]")),
            **_rates(sums),
        },
    )
    key, sums = _sums(
        (lines["category"] * 1000 + lines["market"])[counted], {k: v[counted] for k, v in rate_of.items()}
    )
    _save(
        folder / "category_country.parquet",
        {"category": words(key // 1000, world.categories), "country": words(key % 1000, world.markets), **_rates(sums)},
    )

    stages, b = [], s.back
    pairs = {
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
    home = lines["market"][b["line"]] == world.markets.index("FR")
    headline = (b["kind"] == HEADLINE) & (b["stray"] == 0)
    for name, (start, finish) in pairs.items():
        for way, label in ((PARCEL, "parcel"), (TOTE, "tote")):
            for lane, mask in (("domestic", home), ("cross_border", ~home)):
                mine = headline & mask & (b["way"] == way) & np.isfinite(b[start]) & np.isfinite(b[finish])
                days = (b[finish][mine] - b[start][mine]) / DAY
                if len(days) >= 30:
                    stages.append(
                        (
                            name,
                            label,
                            lane,
                            len(days),
                            float(days.mean()),
                            *np.quantile(days, [0.5, 0.8, 0.9, 0.95]).tolist(),
                        )
                    )
    columns = [list(column) for column in zip(*stages, strict=True)] if stages else [[] for _ in range(9)]
    names = ("stage", "way", "lane", "returns", "mean_days", "p50_days", "p80_days", "p90_days", "p95_days")
    _save(folder / "stage_time.parquet", dict(zip(names, map(list, columns), strict=True)))
    _save(
        folder / "dirt.parquet",
        {"file": [f for f, _, _ in planted], "dirt": [d for _, d, _ in planted], "rows": [c for _, _, c in planted]},
    )
    told = _stories(s, sold, back, counted)
    _save(
        folder / "story.parquet",
        {"story": [t[0] for t in told], "figure": [t[1] for t in told], "value": [float(t[2]) for t in told]},
    )


def _save(path: Path, columns: dict[str, object]) -> None:
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


def _stories(s: Simulation, sold: Array, back: Array, counted: Array) -> list[tuple[str, str, float]]:
    """Story by story, the figures that came out of the draw; `begins_at` in seconds from 1970."""
    world, lines, b = s.world, s.lines, s.back
    told: list[tuple[str, str, float]] = []
    when, headline = lines["ordered_at"], (s.back["kind"] == HEADLINE) & (s.back["stray"] == 0)

    def rate(mask: Array) -> float:
        mask = mask & counted
        return float(back[mask].sum() / max(sold[mask].sum(), 1))

    def add(story: str, **figures: float) -> None:
        told.extend((story, figure, value) for figure, value in figures.items())

    if "robe_alba" in world.stories:
        mine, noted = (
            lines["style"] == told_style(world, s.styles, "robe_alba"),
            when >= world.since("robe_alba", world.stories["robe_alba"]["note_weeks"]),
        )
        small = list(world.parameters["wordings"]).index("size_small")
        rows = (
            (s.rows["kind"] == HEADLINE)
            & (s.rows["stray"] == 0)
            & mine[s.rows["line"]]
            & ~noted[s.rows["line"]]
            & (s.rows["reason"] >= 0)
        )
        add(
            "robe_alba",
            begins_at=world.since("robe_alba", world.stories["robe_alba"]["on_sale_weeks"]),
            note_at=world.since("robe_alba", world.stories["robe_alba"]["note_weeks"]),
            units_before=float(sold[mine & ~noted].sum()),
            units_after=float(sold[mine & noted].sum()),
            rate_before=rate(mine & ~noted),
            rate_after=rate(mine & noted),
            too_small_before=_mean(s.rows["reason"][rows] == small),
        )
    if "decoy" in world.stories:
        mine = lines["style"] == told_style(world, s.styles, "decoy")
        add("decoy", begins_at=world.since("decoy"), units=float(sold[mine].sum()), returned=float(back[mine].sum()))
    if "noise" in world.stories:
        mine = lines["style"] == told_style(world, s.styles, "noise")
        edges = [world.since("noise", weeks) for weeks in world.stories["noise"]["weeks"]]
        for label, low, high in (("before", edges[0], edges[1]), ("after", edges[1], edges[2])):
            part = mine & (when >= low) & (when < high)
            add(
                "noise",
                **{
                    f"units_{label}": float(sold[part].sum()),
                    f"returned_{label}": float(back[part].sum()),
                    f"rate_{label}": rate(part),
                },
            )
    if "relais_atlantique" in world.stories:
        carrier = list(world.parameters["carriers"]).index(world.stories["relais_atlantique"]["carrier"])
        for label, is_later in (("before", False), ("after", True)):
            part = (
                headline
                & (b["carrier"] == carrier)
                & (b["way"] == PARCEL)
                & ((b["handed"] >= world.since("relais_atlantique")) == is_later)
            )
            scanned = part & ~b["is_missed"]
            add(
                "relais_atlantique",
                **{
                    f"parcels_{label}": float(part.sum()),
                    f"first_scan_days_{label}": _mean((b["scanned"] - b["handed"])[scanned] / DAY),
                    f"missing_{label}": _mean(b["is_missed"][part]),
                    f"lost_{label}": _mean(np.isfinite(b["lost"][part])),
                },
            )
        add("relais_atlantique", begins_at=world.since("relais_atlantique"))
    if "january_backlog" in world.stories:
        begin = world.since("january_backlog")
        inflow = b["way"] != TILL
        before = inflow & (b["received"] >= begin - 91 * DAY) & (b["received"] < begin)
        during = inflow & (b["received"] >= begin) & (b["received"] <= world.end)
        waiting = inflow & (b["received"] <= world.end) & (b["inspected"] > world.end)
        base = before.sum() / 91
        done = inflow & (b["inspected"] >= begin) & (b["inspected"] <= world.end) & (b["received"] >= begin)
        length = (world.end - begin) / DAY
        add(
            "january_backlog",
            begins_at=begin,
            inflow=float(during.sum() / length / max(base, 1e-9)),
            throughput=float(done.sum() / length / max(base, 1e-9)),
            waiting_at_end=float(waiting.sum()),
            waiting_usually=float(base * 2.9),
        )
    if "germany_window" in world.stories:
        german, after = (
            lines["market"] == world.markets.index(world.stories["germany_window"]["market"]),
            when >= world.since("germany_window"),
        )
        order_first = lines["line_no"] == 1
        online = order_first & german & (lines["exchanged_from"] < 0)
        for label, part in (("before", german & ~after), ("after", german & after)):
            heads = online & part
            add(
                "germany_window",
                **{f"rate_{label}": rate(part), f"several_sizes_{label}": _mean(lines["pair"][heads] >= 0)},
            )
        add("germany_window", begins_at=world.since("germany_window"))
    if "totes" in world.stories:
        french = lines["market"][b["line"]] == world.markets.index(world.stories["totes"]["market"])
        after = headline & french & (b["requested"] >= world.since("totes"))
        days = (b["received"] - b["scanned"]) / DAY
        parcel, tote = (after & (b["way"] == way) & np.isfinite(b["received"]) for way in (PARCEL, TOTE))
        add(
            "totes",
            begins_at=world.since("totes"),
            share=_mean(b["way"][after] == TOTE),
            extra_days=_mean(days[tote]) - _mean(days[parcel]),
        )
    if "mix" in world.stories:
        moved = lines["category"] == world.categories.index(world.stories["mix"]["category"])
        after = when >= world.since("mix")
        add(
            "mix",
            begins_at=world.since("mix"),
            share_before=float(sold[moved & ~after & counted].sum() / sold[~after & counted].sum()),
            share_after=float(sold[moved & after & counted].sum() / sold[after & counted].sum()),
        )
    return told
