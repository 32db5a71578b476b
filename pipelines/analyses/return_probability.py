"""The probability that order lines come back which no build holds yet: a basket, a checkout, a list from a file.

Here: looking up what a build knows of such lines, their score, the reasons for it, and what a return of them would
cost and emit. Not here: how a model is fitted (pipelines/estimate/probability.py) and what it is worth
(pipelines/analyses/model_report.py).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
import scipy  # loads its parts when they are first asked for
from sqlalchemy import and_, func, select

from models.curves import NO_WINDOW_DAYS
from models.return_features import COUNTS, features_of, matrix_of
from models.return_probability import ReturnProbability
from pipelines.errors import BackhaulError
from pipelines.estimate.probability import Version, version_of
from pipelines.estimate.probability_state import SEPARATOR
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from pipelines.why import why

FIELDS: Mapping[str, type] = {
    "style_id": str,
    "product_id": str,
    "size": str,
    "colour": str,
    "brand": str,
    "category": str,
    "name": str,
    "country": str,
    "customer_id": str,
    "channel": str,
    "order_id": str,
    "net_amount": float,
    "discount_amount": float,
    "units": float,
    "is_gift": bool,
    "window_days": float,
    "fee_amount": float,
    "ordered_on": date,
}
"""What a line may tell. `customer_id` is as the build holds it (source and keyed hash); lines of one `order_id` are one
basket, lines without are one each; amounts exclude VAT, as in the canonical format; missing product texts are the
catalogue's."""
_OF_PRODUCT = ("style_id", "size", "colour", "brand", "category", "name")
MOST_LINES = 100_000


@dataclass(frozen=True)
class Scored:
    """One line: its probability, the same with a usual product, its product's past rate, and the strongest reasons.

    `probability` is NaN with the `reason` where nothing is expected. A reason is a feature and what it adds to the
    logit.
    """

    probability: float
    buyer_probability: float
    base_rate: float
    reasons: tuple[tuple[str, float], ...]
    model_id: str
    reason: str = ""


def current_models(build: Build) -> dict[str, Version]:
    """Give the model in use of each source; kept with the build."""
    if "return_models" not in build.cache:
        c = STAR.tables["model_version"].c
        rows = build.fetch(
            select(c.model_id, c.fitted_at, c.is_used, c.parameters)
            .where(c.model == "return_probability")
            .order_by(c.fitted_at)
        )
        found = [version_of(*row) for row in rows.itertuples(index=False, name=None)]
        build.cache["return_models"] = {v.source: v for v in found if v.parameters["is_promoted"]}
    models: dict[str, Version] = build.cache["return_models"]
    return models


def score_lines(
    build: Build, lines: Sequence[Mapping[str, Any]], source: str | None = None, reasons: int = 3
) -> list[Scored]:
    """Score order lines that no build holds yet, as of the day after the build's last order.

    `source` is needed where several have a model. Raises BackhaulError for a line that cannot be read.
    """
    version = _model(build, source)
    given = _read(lines)
    if not version.is_used:
        return [Scored(*(float("nan"),) * 3, (), version.model_id, version.why_not)] * len(given)
    counted = _counted(build, version.source, _with_catalogue(build, version.source, given))
    features, rates = features_of(counted)
    x = matrix_of(features)
    known = np.isfinite(x[:, 0])
    p, usual = _both(version.model, np.where(np.isfinite(x), x, 0.0))
    why_each = version.model.reasons(np.where(np.isfinite(x), x, 0.0), reasons) if reasons else [[]] * len(given)
    return [
        Scored(float(a), float(b), float(c), tuple(r), version.model_id)
        if is_known
        else Scored(*(float("nan"),) * 3, (), version.model_id, why("nothing_known"))
        for a, b, c, r, is_known in zip(p, usual, rates["product"], why_each, known, strict=True)
    ]


def _both(model: ReturnProbability, x: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    from models.return_probability import usual_product

    return scipy.special.expit(model.margin(x)), scipy.special.expit(model.margin(usual_product(x)))


def _model(build: Build, source: str | None) -> Version:
    models = current_models(build)
    if not models:
        raise BackhaulError(
            "No model expects returns in this build: it takes customers and 500 returns of one source. `backhaul model`"
            " says what there is."
        )
    if source is None and len(models) > 1:
        raise BackhaulError(f"Several sources have a model: say which with source: {', '.join(sorted(models))}.")
    if source is not None and source not in models:
        raise BackhaulError(f"{source} has no model. There are: {', '.join(sorted(models))}.")
    return models[source] if source else next(iter(models.values()))


def _read(lines: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Read lines; raises BackhaulError with the number of the first line that cannot be read, and why."""
    if not lines:
        raise BackhaulError("There is no line to score: give at least one.")
    if len(lines) > MOST_LINES:
        raise BackhaulError(f"{len(lines):,} lines are too many at once: give at most {MOST_LINES:,}.")
    for number, line in enumerate(lines, 1):
        if unknown := set(line) - set(FIELDS):
            raise BackhaulError(
                f"Line {number}: {', '.join(sorted(map(str, unknown)))} is no field of a line. There are:"
                f" {', '.join(FIELDS)}."
            )
        if not (line.get("style_id") or line.get("product_id")):
            raise BackhaulError(f"Line {number} names no product: give product_id or style_id.")
        if not line.get("country"):
            raise BackhaulError(f"Line {number} names no country: give the code of two letters it is sent to.")
        for name, kind in FIELDS.items():
            if line.get(name) is not None and not _fits(line[name], kind):
                raise BackhaulError(f"Line {number}: {name}={str(line[name])[:40]!r} is no {_CALLED[kind]}.")
    frame = pd.DataFrame({name: [line.get(name) for line in lines] for name in FIELDS})
    own = pd.Series([f"line {i}" for i in range(len(frame))])
    return frame.assign(order_id=frame["order_id"].where(frame["order_id"].notna(), own))


_CALLED = {str: "text", float: "number from 0", bool: "yes or no (true, false)", date: "day (2026-01-31)"}


def _fits(value: Any, kind: type) -> bool:
    if kind is float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and 0 <= value < 1e12
    if kind is date:
        try:
            return isinstance(value, date) or bool(date.fromisoformat(value))
        except (TypeError, ValueError):
            return False
    return isinstance(value, kind)


def _with_catalogue(build: Build, source: str, lines: pd.DataFrame) -> pd.DataFrame:
    """Fill in what the catalogue knows of the products that lines name."""
    prefix = f"{source}:"

    def own(values: "pd.Series[Any]") -> "pd.Series[Any]":
        return values.map(lambda v: v if not isinstance(v, str) or v.startswith(prefix) else prefix + v)

    lines = lines.assign(style_id=own(lines["style_id"]), product_id=own(lines["product_id"]))
    wanted = sorted(lines["product_id"].dropna().unique())
    c = STAR.tables["dim_product"].c
    if wanted:
        known = build.fetch(
            select(c.product_id, *(c[n] for n in _OF_PRODUCT)).where(c.is_current, c.product_id.in_(wanted))
        ).drop_duplicates("product_id")
        found = lines[["product_id"]].merge(known, how="left", on="product_id")
        lines = lines.assign(**{n: lines[n].where(lines[n].notna(), found[n]) for n in _OF_PRODUCT})
    return lines.assign(item=lines["style_id"].where(lines["style_id"].notna(), lines["product_id"]))


def _customer_key(customer_id: Any) -> str | None:
    """Give the key of a customer's id as the build holds it: the first eight bytes of its md5, halved."""
    if not isinstance(customer_id, str):
        return None
    digest = hashlib.md5(customer_id.encode(), usedforsecurity=False).digest()
    return str(int.from_bytes(digest[:8], "little") >> 1)


def _keys(lines: pd.DataFrame) -> "dict[str, pd.Series[Any]]":
    """Give the key of each thing that a line looks up; a missing one is None."""

    def joined(*names: str) -> "pd.Series[Any]":
        parts = [lines[n].map(lambda v: v if isinstance(v, str) else "") for n in names]
        whole = parts[0]
        for part in parts[1:]:
            whole = whole + SEPARATOR + part
        return whole

    customer = lines["customer"]
    of_category = joined("customer", "category").where(customer.notna(), None)
    nothing = pd.Series([""] * len(lines))
    return {
        "shop": nothing,
        "late": nothing,
        "market": joined("category", "country"),
        "item": joined("item"),
        "size": joined("item", "size"),
        "colour": joined("item", "colour"),
        "brand": lines["brand"].where(lines["brand"].notna(), None),
        "customer": customer,
        "customer_category": of_category,
        "pace": customer,
        "country": joined("country"),
        "fit": joined("item"),
    }


def _counted(build: Build, source: str, lines: pd.DataFrame) -> dict[str, np.ndarray[Any, Any]]:
    """Give what lines know, as `models.return_features.COUNTS`."""
    lines = lines.assign(customer=lines["customer_id"].map(_customer_key))
    keys, words = _keys(lines), [_words(name) for name in lines["name"]]
    wanted = {(thing, key) for thing, column in keys.items() for key in column if isinstance(key, str)}
    wanted |= {("word", word) for each in words for word in each}
    state = _state(build, source, wanted)

    def of(thing: str, part: int, missing: float = 0.0) -> np.ndarray[Any, Any]:
        return np.array([state.get((thing, k), _NOTHING)[part] if isinstance(k, str) else missing for k in keys[thing]])

    y, n, e, s = range(4)
    shop_rate = (of("shop", y) + 1) / (of("shop", n) + 2)
    priced = of("market", e)
    found = {f"{thing}_{part}": of(thing, place) for thing in _PLAIN for part, place in (("y", y), ("n", n))}
    found |= {"brand_y": of("brand", y), "brand_e": of("brand", e)}
    found |= {f"customer_{part}": of("customer", place) for part, place in (("y", y), ("n", n), ("e", e))}
    found |= {"customer_category_y": of("customer_category", y), "customer_category_e": of("customer_category", e)}
    found |= {"kept_n": of("customer_category", n), "kept_s": np.nan_to_num(of("customer_category", s))}
    found |= {"fit_n": of("fit", n), "fit_s": np.nan_to_num(of("fit", s))}
    found |= {"pace": of("pace", n), "pause": of("pace", s, float("nan"))}
    with np.errstate(invalid="ignore", divide="ignore"):
        found["market_price"] = np.where(priced > 0, of("market", s) / priced, np.nan)
        taken = of("country", n)
        found["delivery_days"] = np.where(taken > 0, np.nan_to_num(of("country", s)) / taken, 0.0)
    found["word_rate"] = np.array([_word_rate(state, each, rate) for each, rate in zip(words, shop_rate, strict=True)])
    found |= _of_order(build, lines)
    return {name: np.asarray(found[name], dtype=np.float64) for name in COUNTS}


_PLAIN = ("shop", "late", "market", "item", "size", "colour")
_NOTHING = (0.0, 0.0, 0.0, float("nan"))


def _state(build: Build, source: str, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], tuple[float, ...]]:
    """Look up the counts of things by their keys."""
    c = STAR.tables["estimate_probability_state"].c
    keys = sorted({key for _, key in wanted})
    rows = build.fetch(select(c.thing, c.key, c.y, c.n, c.e, c.s).where(c.source == source, c.key.in_(keys)))
    return {(row[0], row[1]): row[2:] for row in rows.itertuples(index=False, name=None)}


def _words(name: Any) -> list[str]:
    """Give the words of a product's name as `probability_counts.words_sql` does."""
    import re

    return sorted(set(re.findall(r"[^\W\d_]{3,}", name.lower())))[:8] if isinstance(name, str) else []


def _word_rate(state: Mapping[tuple[str, str], tuple[float, ...]], words: Sequence[str], shop_rate: float) -> float:
    known = [state[("word", word)] for word in words if ("word", word) in state]
    if not words:
        return 0.0
    return float(sum(np.log((k[0] + 20 * shop_rate) / (k[2] + 20 * shop_rate)) for k in known) / len(words))


def _of_order(build: Build, lines: pd.DataFrame) -> dict[str, np.ndarray[Any, Any]]:
    """Give what lines and their baskets are."""

    def number(name: str, missing: float) -> "pd.Series[Any]":
        return pd.to_numeric(lines[name], errors="coerce").fillna(missing)

    net = number("net_amount", 0.0)
    of_order = lines.assign(net=net).groupby("order_id")
    of_item = lines.groupby(["order_id", "item"])
    of_category = lines.fillna({"category": ""}).groupby(["order_id", "category"])
    until = datetime.fromisoformat(build.info["observed_until"]).date()
    days = [
        date.fromisoformat(d) if isinstance(d, str) else d if isinstance(d, date) else until
        for d in lines["ordered_on"]
    ]
    found = {
        "size_no": np.array([_size(size) for size in lines["size"]]),
        "sizes": np.maximum(of_item["size"].transform("nunique"), 1),
        "colours": of_item["colour"].transform("nunique"),
        "style_lines": of_item["item"].transform("size"),
        "category_lines": of_category["item"].transform("size"),
        "lines": of_order["item"].transform("size"),
        "basket_net": of_order["net"].transform("sum"),
        "net": net,
        "discount": number("discount_amount", 0.0),
        "units": number("units", 1.0).clip(lower=1),
        "is_gift": lines["is_gift"].map(lambda v: float(isinstance(v, (bool, np.bool_)) and bool(v))),
        "is_store": (lines["channel"] == "store").astype(float),
        "window_days": number("window_days", NO_WINDOW_DAYS),
        "fee": number("fee_amount", 0.0),
        "month_no": np.array([day.month for day in days]),
    }
    return {name: np.asarray(values, dtype=np.float64) for name, values in found.items()}


_LETTERS = ("xxs", "xs", "s", "m", "l", "xl", "xxl", "xxxl")


def _size(size: Any) -> float:
    """Give a size in steps of one size, as `probability_counts.size_sql` does."""
    import re

    if not isinstance(size, str):
        return float("nan")
    text = size.strip().lower()
    if text in _LETTERS:
        return float(_LETTERS.index(text))
    if re.fullmatch("[2-9] ?xl", text):
        return 4.0 + int(text[0])
    found = re.search(r"[0-9]+([.][0-9]+)?", text)
    if not found:
        return float("nan")
    number = float(found[0])
    return number / 6 if number >= 70 else number / 2 if number >= 20 else number


def expected_of_return(build: Build, lines: Sequence[Mapping[str, Any]], scored: Sequence[Scored]) -> pd.DataFrame:
    """Give what each line is expected to cost and emit by its return before it ships: probability x what one does.

    Columns cost and kg_co2e of a return, expected_cost and expected_kg_co2e, basis (lane, country or all: whose usual
    figures they are) and lots behind them. The usual cost is the mean of the returned lots of the category in the
    country, without refunds; the country's and then all together's where fewer than `FEWEST_LOTS` lots have one.
    Missing where nothing has one.
    """
    usual = usual_return(build)
    rows = []
    for line, found in zip(_read(lines).itertuples(), scored, strict=True):
        ladder = [("lane", (line.country, line.category)), ("country", (line.country, None)), ("all", (None, None))]
        picked = next(((b, usual[k]) for b, k in ladder if k in usual and usual[k][2] >= FEWEST_LOTS), None)
        basis, (cost, kg, lots) = picked or ("", (float("nan"), float("nan"), 0))
        p = found.probability
        rows.append((cost, kg, cost * p, kg * p, basis, lots))
    columns = ["cost", "kg_co2e", "expected_cost", "expected_kg_co2e", "basis", "lots"]
    return pd.DataFrame(rows, columns=columns)


FEWEST_LOTS = 30


def usual_return(build: Build) -> dict[tuple[str | None, str | None], tuple[float, float, int]]:
    """Give the mean cost and kilograms of a returned unit by country and category, kept with the build."""
    if "usual_return" not in build.cache:
        cost, carbon = STAR.tables["estimate_return_cost"], STAR.tables["estimate_return_carbon"]
        lots = STAR.tables["fact_return_line"]
        of_lot = select(cost.c.return_lot_key, func.sum(cost.c.amount).label("amount")).group_by(cost.c.return_lot_key)
        each = of_lot.subquery()
        rows = build.fetch(
            select(
                lots.c.country,
                lots.c.category,
                func.sum(each.c.amount).label("amount"),
                func.sum(lots.c.units).label("units"),
                func.sum(carbon.c.kg_co2e).label("kg"),
                func.sum(lots.c.units).filter(carbon.c.kg_co2e.is_not(None)).label("kg_units"),
                func.count().label("lots"),
            )
            .select_from(
                lots.join(each, each.c.return_lot_key == lots.c.return_lot_key).outerjoin(
                    carbon, carbon.c.return_lot_key == lots.c.return_lot_key
                )
            )
            .where(and_(lots.c.is_headline, lots.c.units > 0, lots.c.inspected_at.is_not(None)))
            .group_by(lots.c.country, lots.c.category)
        )
        build.cache["usual_return"] = _means(rows)
    found: dict[tuple[str | None, str | None], tuple[float, float, int]] = build.cache["usual_return"]
    return found


def _means(rows: pd.DataFrame) -> dict[tuple[str | None, str | None], tuple[float, float, int]]:
    """Add up the sums of each lane, country and all, and divide."""
    sums = rows.astype(dict.fromkeys(("amount", "units", "kg", "kg_units", "lots"), float))
    parts = {("country", "category"): sums, ("country",): sums, (): sums}
    found: dict[tuple[str | None, str | None], tuple[float, float, int]] = {}
    for by, part in parts.items():
        groups = part.groupby(list(by), dropna=True) if by else [((), part)]
        for key, group in groups:
            total = group[["amount", "units", "kg", "kg_units", "lots"]].sum()
            names = (*map(str, key), None, None)
            cost = total["amount"] / total["units"] if total["units"] else float("nan")
            kg = total["kg"] / total["kg_units"] if total["kg_units"] else float("nan")
            found[names[0], names[1]] = (float(cost), float(kg), int(total["lots"]))
    return found
