"""One product (a style): what its page shows beside the metrics cut by it.

Every function takes a style_id, the filters, period and time of observation that metrics take, and gives a frame; the
filters hold for the product and for what it is compared with. They read the same declarations as metrics. Not here: the
ranking (lists).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import func, literal_column, select, union

from models import rates as rate_models
from models.marks import beyond_noise
from models.notes import note_themes
from pipelines.analyses.ranking import product_changes, product_names
from pipelines.metrics.bind import bind, is_known, unit
from pipelines.metrics.catalogue import metric
from pipelines.metrics.compiler import filters, statement
from pipelines.metrics.facts import LOTS, ORDERS, lots, orders
from pipelines.metrics.facts.conditions import is_confirmed, is_headline
from pipelines.metrics.finish import final as final_finish
from pipelines.metrics.finish import pooled, product, shares
from pipelines.metrics.question import ANYTHING, Question
from pipelines.warehouse.engine import Build, looked_up
from pipelines.warehouse.vocabulary import COST_COMPONENTS

SIZES = ("XXXS", "XXS", "XS", "S", "M", "L", "XL", "XXL", "2XL", "XXXL", "3XL", "4XL", "5XL")
NOT_KNOWN = ("unknown", "other")
FEWEST_TOGETHER = 3
MARKED_LISTS = 3  # of a product's page: sizes, reasons, notes; what may be false is shared among them


@dataclass(frozen=True)
class ProductProfile:
    """All a product page shows; each frame is what the function of the same name gives."""

    style_id: str
    name: str
    category: str | None
    brand: str | None
    supplier: str | None
    season: str | None
    first_sold_on: pd.Timestamp | None
    by_size: pd.DataFrame
    by_colour: pd.DataFrame
    by_size_and_colour: pd.DataFrame
    size_curve: pd.DataFrame
    reasons: pd.DataFrame
    since_launch: pd.DataFrame
    costs: pd.DataFrame
    notes: pd.DataFrame
    related: pd.DataFrame
    changes: pd.DataFrame


def product_profile(
    build: Build,
    style_id: str,
    question: Question = ANYTHING,
) -> ProductProfile:
    """Gather everything about one style at once; pages that show parts call the functions."""
    known = pooled.attributes(build)
    mine = known[known["style_id"] == style_id]

    def first(name: str) -> str | None:
        found = mine[name].dropna()
        return str(found.min()) if len(found) else None

    day, cells = pooled.first_sold(build, "style_id").get(style_id), _cells(build, style_id, question)
    cuts: tuple[tuple[str, ...], ...] = ("size",), ("colour",), ("size", "colour")
    by_size, by_colour, by_both = (_rates(build, style_id, question, cut, cells) for cut in cuts)
    return ProductProfile(
        style_id,
        str(product_names(build, "style_id", pd.Series([style_id])).iloc[0]),
        first("category"),
        first("brand"),
        first("supplier"),
        first("season"),
        None if day is None or pd.isna(day) else pd.Timestamp(day),
        by_size,
        by_colour,
        by_both,
        size_curve(build, style_id, question),
        product_reasons(build, style_id, question),
        rate_since_launch(build, style_id, question),
        product_costs(build, style_id, question),
        product_notes(build, style_id, question),
        related_products(build, style_id, question),
        product_changes(build, style_id),
    )


def _of(question: Question, style_id: str) -> Question:
    kept = {k: v for k, v in question.where.items() if k not in ("style", "style_id")}
    return question.but(where={**kept, "style_id": [style_id]})


def category_of(build: Build, style_id: str) -> str | None:
    """Give the category of a style's current version; None without one."""
    known = pooled.attributes(build)
    found = known.loc[known["style_id"] == style_id, "category"].dropna()
    return str(found.min()) if len(found) else None


def _of_category(build: Build, question: Question, style_id: str) -> Question:
    """Ask of what a style is compared with: its category, itself included; all where it has none."""
    kept = {k: v for k, v in question.where.items() if k not in ("style", "style_id", "product", "product_id")}
    category = category_of(build, style_id)
    return question.but(where={**kept, **({"category": [category]} if category else {})})


def _only_categories(build: Build) -> dict[str, str | None]:
    """Give, once a build, the category, or None, of each style whose lines and returns are all of the same."""
    if "only_categories" not in build.cache:
        seen = (select(rows.c.style_id, rows.c.category).where(rows.c.style_id.is_not(None)) for rows in (orders, lots))
        found = build.fetch(union(*seen)).drop_duplicates("style_id", keep=False)  # type: ignore[arg-type]
        build.cache["only_categories"] = {
            str(style): None if pd.isna(category) else str(category)
            for style, category in zip(found["style_id"], found["category"], strict=True)
        }
    only: dict[str, str | None] = build.cache["only_categories"]
    return only


def _is_of_its_category(build: Build, style_id: str, question: Question) -> bool:
    """Say whether what a style is compared with holds all of its own rows, under the filters of a question."""
    if {"category", "product", "product_id"} & question.where.keys():
        return False
    only = _only_categories(build)
    return style_id in only and only[style_id] == category_of(build, style_id)


def _own_and_all(
    build: Build, key: str, by: tuple[str, ...], style_id: str, question: Question, basis: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give a metric's statistics of a style and of its category, itself included, in groups.

    One statement gives both, by style, where the category holds all of the style: others of it then need no more.
    """

    def rows(chosen: Question, groups: tuple[str, ...]) -> pd.DataFrame:
        bound = bind(build, key, chosen, by=groups)
        return build.fetch(statement(replace(bound, basis=basis) if basis else bound))

    category = _of_category(build, question, style_id)
    if not _is_of_its_category(build, style_id, question):
        return rows(_of(question, style_id), by), rows(category, by)
    every = rows(category, (*by, "style_id"))
    return every[every["style_id"] == style_id], every


def size_rank(size: Any) -> tuple[int, float, str]:
    """Order sizes as a shop does: letters from small to large, then numbers, then all else; missing last.

    >>> sorted(["10", "M", "8", "XS", None, "one"], key=size_rank)
    ['XS', 'M', '8', '10', 'one', None]
    """
    if size is None or pd.isna(size):
        return 3, 0.0, ""
    text = str(size).strip().upper()
    if text in SIZES:
        return 0, float(SIZES.index(text)), text
    try:
        return 1, float(text.replace(",", ".").split("-")[0].split("/")[0]), text
    except ValueError:
        return 2, 0.0, text


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    if "size" not in frame:
        return frame.reset_index(drop=True)
    rank = frame["size"].map(size_rank)
    keyed = frame.assign(_rank=rank).sort_values(["_rank", *(c for c in ("colour",) if c in frame)])
    return keyed.drop(columns="_rank").reset_index(drop=True)


def product_rates(
    build: Build,
    style_id: str,
    question: Question = ANYTHING,
    *,
    by: tuple[str, ...] = ("size",),
) -> pd.DataFrame:
    """Give a style's rates by size, by colour or by both.

    Columns: sold, returned, maturity, rate (adjusted) with low and high, raw_rate, category_rate. `by` is ("size",),
    ("colour",) or both. Rates are pulled towards the style's other rows, and to what such a size or colour usually
    adds, as far as their own units are few. In the order of sizes.
    """
    return _rates(build, style_id, question, by, _cells(build, style_id, question))


def _cells(build: Build, style_id: str, question: Question) -> pd.DataFrame | None:
    """Sum what was sold and came back of a style by size, colour and category; None where that is not known."""
    if not is_known(build, "product_return_rate"):
        return None
    cells = bind(build, "product_return_rate", _of(question, style_id), by=("style_id", "size", "colour"))
    return product.weighed(build.fetch(statement(cells)), (*cells.by, "family"))


def _rates(
    build: Build, style_id: str, question: Question, by: tuple[str, ...], cells: pd.DataFrame | None
) -> pd.DataFrame:
    """Give a style's rates, as `product_rates` does, from its cells."""
    columns = [*by, "sold", "returned", "maturity", "rate", "low", "high", "raw_rate", "category_rate"]
    if cells is None:
        return pd.DataFrame(columns=columns)
    groups = ("style_id", *by)
    found = product.bounded(cells, (*groups, "family"))
    found = product.one_family(found[found["sold"] > 0], groups)
    if not len(found):
        return pd.DataFrame(columns=columns)
    usual = product.usual_rates(build, found, bind(build, "product_return_rate", _of(question, style_id), by=groups))
    rate, low, high = pooled.rates(build, found, groups, question.level, usual)
    found = found.assign(
        rate=rate,
        low=low,
        high=high,
        category_rate=usual,
        maturity=found["exposure"] / found["sold"],
        raw_rate=found["returned"] / found["exposure"].where(found["exposure"] > 0),
    )
    return _in_order(found)[columns]


def size_curve(
    build: Build,
    style_id: str,
    question: Question = ANYTHING,
) -> pd.DataFrame:
    """Give the too small / too large balance of each size, and of the style (size "all", first), against its category.

    Columns: size, small, large (units returned for that reason), balance (-1 all too large, 1 all too small) with low
    and high, category_balance (the category without the style, same size), difference with difference_low and
    difference_high, and is_within_noise.
    """
    columns = [
        "size",
        "small",
        "large",
        "balance",
        "low",
        "high",
        "category_balance",
        "difference",
        "difference_low",
        "difference_high",
        "is_within_noise",
    ]
    if not is_known(build, "size_balance"):
        return pd.DataFrame(columns=columns)
    own, others = _own_and_others(build, "size_balance", ("size",), ["small", "large"], style_id, question)
    if not len(own):
        return pd.DataFrame(columns=columns)
    own, others = (pd.concat([x.sum().to_frame("all").T, x]) for x in (own, others))
    others = others.reindex(own.index).fillna(0.0)
    effect = shares.design_effect(build)
    n, m = own.sum(axis=1).to_numpy(float), others.sum(axis=1).to_numpy(float)
    gap, low, high, _ = rate_models.rate_difference(own["small"], n, others["small"], m, question.level, effect)
    bounds = rate_models.wilson(own["small"], n, question.level, effect)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = own.assign(
            balance=2 * own["small"] / n - 1,
            low=2 * bounds[0] - 1,
            high=2 * bounds[1] - 1,
            category_balance=2 * others["small"] / m - 1,
            difference=2 * gap,
            difference_low=2 * low,
            difference_high=2 * high,
            is_within_noise=~beyond_noise(gap, low, high, question.level, MARKED_LISTS),
        )
    found = found[n > 0].rename_axis("size").reset_index()
    whole = found[found["size"] == "all"]
    return pd.concat([whole, _in_order(found[found["size"] != "all"])], ignore_index=True)[columns]


def _own_and_others(
    build: Build, key: str, by: tuple[str, ...], sums: list[str], style_id: str, question: Question
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sum measures of a style and of its category without it, per group."""
    mine, every = (
        frame.dropna(subset=list(by)).groupby(list(by))[sums].sum().astype(float)
        for frame in _own_and_all(build, key, by, style_id, question)
    )
    return mine, every.sub(mine, fill_value=0.0).clip(lower=0.0)


def product_reasons(
    build: Build,
    style_id: str,
    question: Question = ANYTHING,
) -> pd.DataFrame:
    """Compare a style's reasons with those of its category without it, largest first.

    Columns: return_reason, returned, share, category_share, difference with low and high, is_within_noise. Unknown
    reasons are a row like any other.
    """
    columns = ["return_reason", "returned", "share", "category_share", "difference", "low", "high", "is_within_noise"]
    if not is_known(build, "reason_share"):
        return pd.DataFrame(columns=columns)
    own, others = _own_and_others(build, "reason_share", ("return_reason",), ["returned"], style_id, question)
    names = own.index.union(others.index, sort=True)
    found = _compared(
        own["returned"].reindex(names), others["returned"].reindex(names), question.level, shares.design_effect(build)
    )
    found = found.rename_axis("return_reason").reset_index().rename(columns={"own": "returned"})
    found = found.sort_values(["returned", "category_share", "return_reason"], ascending=[False, False, True])
    return found[columns].reset_index(drop=True)


def _compared(own: "pd.Series[float]", others: "pd.Series[float]", level: float, effect: float) -> pd.DataFrame:
    """Give own counts, share, category_share, difference with low and high, is_within_noise."""
    own, others = own.fillna(0.0).astype(float), others.fillna(0.0).astype(float)
    n, m = float(own.sum()), float(others.sum())
    gap, low, high, _ = rate_models.rate_difference(
        own, np.full(len(own), n), others, np.full(len(own), m), level, effect
    )
    share, of_category = (own / n if n else own * np.nan), (others / m if m else others * np.nan)
    return pd.DataFrame(
        {
            "own": own,
            "share": share,
            "category_share": of_category,
            "difference": gap,
            "low": low,
            "high": high,
            "is_within_noise": ~beyond_noise(gap, low, high, level, MARKED_LISTS),
        },
        index=own.index,
    )


def rate_since_launch(
    build: Build,
    style_id: str,
    question: Question = ANYTHING,
    *,
    grain: str = "month",
) -> pd.DataFrame:
    """Give a style's expected final rate by week or month of order since it was first sold.

    Columns: the grain (its first day), periods_since_launch (0 for the first), sold, returned, rate with low and high,
    maturity, is_provisional (under half of the expected returns are back), category_rate (the expected final rate of
    its category then).
    """
    columns = [
        grain,
        "periods_since_launch",
        "sold",
        "returned",
        "rate",
        "low",
        "high",
        "maturity",
        "is_provisional",
        "category_rate",
    ]
    if not is_known(build, "ultimate_return_rate"):
        return pd.DataFrame(columns=columns)
    own, usual = (
        _final(build, grain, chosen) for chosen in (_of(question, style_id), _of_category(build, question, style_id))
    )
    own = own[own["sold"] > 0]
    if not len(own):
        return pd.DataFrame(columns=columns)
    start = pd.Timestamp(pooled.first_sold(build, "style_id").get(style_id, own[grain].min()))
    start = min(start, own[grain].min())
    if grain == "month":
        months = own[grain].dt.year * 12 + own[grain].dt.month - start.year * 12 - start.month
        since_launch = months
    else:
        length = {"day": 1, "week": 7, "quarter": 91, "year": 365}[grain]
        since_launch = (
            own[grain] - (start - pd.Timedelta(days=start.weekday() if grain == "week" else 0))
        ).dt.days // length
    found = own.assign(
        periods_since_launch=since_launch.clip(lower=0),
        is_provisional=own["maturity"] < final_finish.MATURE,
        category_rate=looked_up(own[grain], usual.set_index(grain)["rate"]),
    )
    return found.sort_values(grain)[columns].reset_index(drop=True)


def _final(build: Build, grain: str, question: Question) -> pd.DataFrame:
    bound = bind(build, "ultimate_return_rate", question, by=(grain,))
    frame = build.fetch(statement(bound))
    if not len(frame):
        return pd.DataFrame(columns=[grain, "sold", "returned", "rate", "low", "high", "maturity"])
    keys, final, sums = final_finish.final(frame, bound, build)
    low, high = final_finish.around(final)
    return keys.assign(
        sold=sums["sold"],
        returned=sums["returned"],
        rate=final.rate,
        low=low,
        high=high,
        maturity=final.maturity,
    )


def product_costs(
    build: Build,
    style_id: str,
    question: Question = ANYTHING,
) -> pd.DataFrame:
    """Give what the returns of a style's sales cost and emit, in all and a returned unit, beside its category.

    Rows (`what`): return_cost, its components, margin_reversed and kg_co2e, as far as they are known; by order day.
    Columns: what, amount, unit, per_unit, category_per_unit (the category without the style).
    """
    columns = ["what", "amount", "unit", "per_unit", "category_per_unit"]
    units = [
        _summed(rows, "returned", ()).sum()
        for rows in _own_and_all(build, "returned_units", (), style_id, question, "order")
    ]
    units[1] -= units[0]
    rows: list[tuple[Any, ...]] = []
    wanted = {"return_cost": "cost", "margin_reversed": "reversed", "kg_co2e": "kg"}
    for key, sum_ in wanted.items():
        if not is_known(build, key):
            continue
        by = ("component",) if key == "return_cost" else ()
        own, all_ = (_summed(rows, sum_, by) for rows in _own_and_all(build, key, by, style_id, question, "order"))
        parts = {key: (own.sum(), all_.sum())}
        if by:
            parts |= {n: (own.get(n, 0.0), all_.get(n, 0.0)) for n in COST_COMPONENTS if n in all_.index}
        for name, (mine, whole) in parts.items():
            each = [x / u if u > 0 else np.nan for x, u in zip((mine, whole - mine), units, strict=True)]
            rows.append((name, float(mine), unit(build, metric(key)), *each))
    return pd.DataFrame(rows, columns=columns)


def _summed(frame: pd.DataFrame, name: str, by: tuple[str, ...]) -> "pd.Series[float]":
    found = frame.groupby(list(by))[name].sum() if by else frame[name]
    sums: pd.Series[float] = found.fillna(0.0).astype(float)
    return sums


def product_notes(
    build: Build,
    style_id: str,
    question: Question = ANYTHING,
    *,
    most: int = 8,
) -> pd.DataFrame:
    """Group what customers wrote with their returns by theme, against the category without the style.

    Columns: theme (concepts, blanks between; pipelines.sources.note_label says them in a language), notes, share,
    category_share, difference with low and high, is_within_noise; most notes first. By order day; each return line's
    note counts once.
    """
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    columns = ["theme", "notes", "share", "category_share", "difference", "low", "high", "is_within_noise"]
    own, all_ = _notes(build, style_id, question)
    texts = all_.index.union(own.index, sort=True)
    mine = own.reindex(texts).fillna(0.0)
    others = (all_.reindex(texts).fillna(0.0) - mine).clip(lower=0.0)
    if mine.sum() <= 0:
        return pd.DataFrame(columns=columns)
    with threadpool_limits(1):  # handing a few notes to threads takes ten times as long as the notes
        names, theme = note_themes([str(t) for t in texts], mine, others, most)
    grouped = [pd.Series(np.bincount(theme, x, len(names)), index=names) for x in (mine, others)]
    found = _compared(grouped[0], grouped[1], question.level, 1.0).rename_axis("theme").reset_index()
    found = found.rename(columns={"own": "notes"}).sort_values(
        ["notes", "category_share", "theme"], ascending=[False, False, True]
    )
    return found[found["notes"] > 0][columns].reset_index(drop=True)


def _notes(build: Build, style_id: str, question: Question) -> "tuple[pd.Series[float], pd.Series[float]]":
    """Count the notes of a style and of its category, itself included."""

    def counted(chosen: Question) -> pd.DataFrame:
        bound = replace(bind(build, "returned_units", chosen), basis="order")
        now, is_own = LOTS.time(bound), func.coalesce(lots.c.style_id == style_id, literal_column("false"))
        wanted = [c(now) for c in (is_confirmed(), is_headline())]
        columns = lots.c.note_terms.label("note"), is_own.label("is_own")
        query = select(*columns, func.count(lots.c.return_line_key.distinct()).label("notes"))
        query = query.where(*filters(LOTS, bound, now), *wanted, lots.c.note_terms.is_not(None))
        return build.fetch(query.group_by(lots.c.note_terms, is_own))

    every = counted(_of_category(build, question, style_id))
    own = every if _is_of_its_category(build, style_id, question) else counted(_of(question, style_id))
    mine, all_ = (
        rows.groupby("note")["notes"].sum().astype(float) for rows in (own[own["is_own"].astype(bool)], every)
    )
    return mine, all_


def related_products(
    build: Build,
    style_id: str,
    question: Question = ANYTHING,
    *,
    limit: int = 10,
) -> pd.DataFrame:
    """List styles that share the style's problem or are bought or returned with it.

    `relation` is one of
    - same_problem: of the same supplier, brand or category (`through` names the nearest of them, in this order), the
      same leading
      known reason, and more units of its sales returned for it than in the category (`strength`: how many times as
        many);
    - bought_together, returned_together: in at least FEWEST_TOGETHER orders or returns with the style, and more often
      than chance
      (`strength`: times as often).
    Columns: relation, style_id, name, through, return_reason, count (units returned for the reason, orders or returns),
      strength.
    At most `limit` a relation: nearest and strongest first.
    """
    others = question.but(where={k: v for k, v in question.where.items() if k not in ("style", "style_id")})
    found = [
        _same_problem(build, style_id, others),
        _together(build, style_id, "bought_together", others),
        _together(build, style_id, "returned_together", others),
    ]
    columns = ["relation", "style_id", "name", "through", "return_reason", "count", "strength"]
    parts = [f.head(limit) for f in found if len(f)]
    if not parts:
        return pd.DataFrame(columns=columns)
    listed = pd.concat(parts, ignore_index=True)
    return listed.assign(name=product_names(build, "style_id", listed["style_id"]))[columns]


def _same_problem(build: Build, style_id: str, question: Question) -> pd.DataFrame:
    if not is_known(build, "reason_share"):
        return pd.DataFrame()
    bound = bind(build, "reason_share", question, by=("style_id", "return_reason"))
    reasons = build.fetch(statement(bound)).dropna(subset=["style_id", "return_reason"])
    reasons = reasons[~reasons["return_reason"].isin(NOT_KNOWN) & (reasons["returned"] > 0)]
    leading = (
        reasons.sort_values(["returned", "return_reason"], ascending=[False, True])
        .drop_duplicates("style_id")
        .set_index("style_id")
    )
    if style_id not in leading.index:
        return pd.DataFrame()
    reason = str(leading["return_reason"][style_id])
    sold = build.fetch(statement(bind(build, "sold_units", question, by=("style_id",)))).set_index("style_id")["sold"]
    known = pooled.attributes(build).drop_duplicates("style_id").set_index("style_id")
    table = known.assign(
        sold=sold.reindex(known.index).fillna(0.0).astype(float),
        count=reasons[reasons["return_reason"] == reason]
        .set_index("style_id")["returned"]
        .reindex(known.index)
        .fillna(0.0)
        .astype(float),
    )
    usual = table.groupby("category", dropna=False)[["count", "sold"]].transform("sum")
    with np.errstate(invalid="ignore", divide="ignore"):
        table["strength"] = (table["count"] / table["sold"]) / (usual["count"] / usual["sold"])
    if style_id not in table.index:
        return pd.DataFrame()
    table["through"], table["near"] = "", 3
    for near, link in reversed(list(enumerate(("supplier", "brand", "category")))):
        same = table[link].notna() & (table[link] == known.loc[style_id, link])
        table["through"] = table["through"].mask(same, link)
        table["near"] = table["near"].mask(same, near)
    table = table[table.index.isin(leading.index[leading["return_reason"] == reason]) & (table.index != style_id)]
    table = table[(table["near"] < 3) & (table["strength"] > 1) & (table["sold"] > 0)]
    table = table.sort_values(["near", "count"], ascending=[True, False])
    return table.reset_index().assign(relation="same_problem", return_reason=reason)


def _together(build: Build, style_id: str, relation: str, question: Question) -> pd.DataFrame:
    """Count the orders or returns that hold both styles, against what their sizes alone would bring together."""
    is_bought = relation == "bought_together"
    base, table = (ORDERS, orders) if is_bought else (LOTS, lots)
    key = table.c.order_key if is_bought else table.c.return_key
    bound = replace(bind(build, "sold_units" if is_bought else "returned_units", question), basis="order")
    now = base.time(bound)
    counted = [table.c.units_sold > 0] if is_bought else [is_confirmed()(now), is_headline()(now)]
    wanted = [*filters(base, bound, now), *counted, key.is_not(None), table.c.style_id.is_not(None)]
    holding = select(key).where(*wanted, table.c.style_id == style_id)
    each = func.count(key.distinct())
    both = build.fetch(
        select(table.c.style_id, each.label("count"))
        .where(*wanted, key.in_(holding), table.c.style_id != style_id)
        .group_by(table.c.style_id)
        .having(each >= FEWEST_TOGETHER)
    )
    if not len(both):
        return pd.DataFrame()
    alone = build.fetch(
        select(table.c.style_id, each.label("alone"))
        .where(*wanted, table.c.style_id.in_([style_id, *both["style_id"]]))
        .group_by(table.c.style_id)
    ).set_index("style_id")["alone"]
    whole = float(build.fetch(select(each.label("whole")).where(*wanted))["whole"].iloc[0])
    by_chance = looked_up(both["style_id"], alone).astype(float) * float(alone[style_id]) / whole
    both = both.assign(strength=both["count"] / by_chance, relation=relation, through="", return_reason=None)
    return both[both["strength"] > 1].sort_values(["strength", "style_id"], ascending=[False, True])
