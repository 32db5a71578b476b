"""The probability that order lines come back which no build holds yet: a basket, a checkout, a list from a file.

Here: looking up what a build knows of such lines, their score, the reasons for it, and what a return of them would
cost and emit. Not here: how a model is fitted (pipelines/estimate/probability.py) and what it is worth
(pipelines/analyses/model_report.py).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
import scipy  # loads its parts when they are first asked for
from sqlalchemy import ARRAY, Select, Text, and_, func, literal, select

from models.curves import NO_WINDOW_DAYS
from models.return_features import COUNTS, features_of, matrix_of
from models.return_probability import ReturnProbability
from pipelines.errors import BackhaulError, ModelMissing
from pipelines.estimate.probability import Version, version_of
from pipelines.estimate.probability_state import SEPARATOR
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from pipelines.why import why
from pipelines.written import is_country

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


Columns = dict[str, list[Any]]
"""Lines by column, a value each; what is not told is None."""


@dataclass(frozen=True)
class Scored:
    """One line: its probability, the same with a usual product, its product's past rate, and the strongest reasons.

    `probability` is NaN with the `reason` where nothing is expected. A reason is a feature and what it adds to the
    logit. `category` is the line's, else its product's in the catalogue.
    """

    probability: float
    buyer_probability: float
    base_rate: float
    reasons: tuple[tuple[str, float], ...]
    model_id: str
    category: str | None
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
    given = _with_catalogue(build, version.source, _read(lines))
    if not version.is_used:
        return [Scored(*_NAN, (), version.model_id, category, version.why_not) for category in given["category"]]
    counted = _counted(build, version.source, given)
    features, rates = features_of(counted)
    x = matrix_of(features)
    known = np.isfinite(x[:, 0])
    p, usual = _both(version.model, np.where(np.isfinite(x), x, 0.0))
    why_each = version.model.reasons(np.where(np.isfinite(x), x, 0.0), reasons) if reasons else [[]] * len(lines)
    return [
        Scored(float(a), float(b), float(c), tuple(r), version.model_id, category)
        if is_known
        else Scored(*_NAN, (), version.model_id, category, why("nothing_known"))
        for a, b, c, r, category, is_known in zip(
            p, usual, rates["product"], why_each, given["category"], known, strict=True
        )
    ]


_NAN = (float("nan"),) * 3


def _both(model: ReturnProbability, x: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    from models.return_probability import usual_product

    return scipy.special.expit(model.margin(x)), scipy.special.expit(model.margin(usual_product(x)))


def _model(build: Build, source: str | None) -> Version:
    models = current_models(build)
    if not models:
        raise ModelMissing(
            "No model expects returns in this build: it takes customers and 500 returns of one source. `backhaul model`"
            " says what there is."
        )
    if source is None and len(models) > 1:
        raise BackhaulError(f"Several sources have a model: say which with source: {', '.join(sorted(models))}.")
    if source is not None and source not in models:
        raise BackhaulError(f"{source} has no model. There are: {', '.join(sorted(models))}.")
    return models[source] if source else next(iter(models.values()))


def _read(lines: Sequence[Mapping[str, Any]]) -> Columns:
    """Read lines; raises BackhaulError with the number of the first line that cannot be read, and why."""
    if not lines:
        raise BackhaulError("There is no line to score: give at least one.")
    if len(lines) > MOST_LINES:
        raise BackhaulError(f"{len(lines):,} lines are too many at once: give at most {MOST_LINES:,}.")
    for number, line in enumerate(lines, 1):
        if unknown := set(line) - FIELDS.keys():
            raise BackhaulError(
                f"Line {number}: {', '.join(sorted(map(str, unknown)))} is no field of a line. There are:"
                f" {', '.join(FIELDS)}."
            )
        for name, value in line.items():
            if value is not None and not _fits(value, FIELDS[name]):
                raise BackhaulError(f"Line {number}: {name}={str(value)[:40]!r} is no {_CALLED[FIELDS[name]]}.")
        if not (line.get("style_id") or line.get("product_id")):
            raise BackhaulError(f"Line {number} names no product: give product_id or style_id.")
        country = line.get("country") or ""
        if not is_country(country):
            told = f": country={country[:40]!r} is no code of two letters" if country else " names no country"
            raise BackhaulError(f"Line {number}{told}. Give the country it is sent to, such as FR.")
    columns: Columns = {name: [line.get(name) for line in lines] for name in FIELDS}
    columns["order_id"] = [f"line {i}" if v is None else v for i, v in enumerate(columns["order_id"])]
    return columns


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


def _with_catalogue(build: Build, source: str, lines: Columns) -> Columns:
    """Fill in what the catalogue knows of the products that lines name; `item` is the style, else the product."""
    prefix = f"{source}:"

    def own(values: list[Any]) -> list[Any]:
        return [v if v is None or v.startswith(prefix) else prefix + v for v in values]

    lines = {**lines, "style_id": own(lines["style_id"]), "product_id": own(lines["product_id"])}
    known: dict[str, tuple[Any, ...]] = {}
    c = STAR.tables["dim_product"].c
    if wanted := {v for v in lines["product_id"] if v is not None}:
        rows = build.fetch(
            select(c.product_id, *(c[n] for n in _OF_PRODUCT)).where(c.is_current, c.product_id.in_(_each(wanted)))
        )
        known = {row[0]: row[1:] for row in rows.itertuples(index=False, name=None)}
    nothing = (None,) * len(_OF_PRODUCT)
    texts = zip(*(known.get(v, nothing) for v in lines["product_id"]), strict=True)
    lines |= {
        name: [
            v if v is not None else t if isinstance(t, str) else None for v, t in zip(lines[name], found, strict=True)
        ]
        for name, found in zip(_OF_PRODUCT, texts, strict=True)
    }
    return {**lines, "item": [s or p for s, p in zip(lines["style_id"], lines["product_id"], strict=True)]}


def _each(keys: Iterable[str]) -> Select[Any]:
    """Give keys as rows: one parameter, however many there are."""
    return select(func.unnest(literal(sorted(keys), ARRAY(Text))))


def _customer_key(customer_id: Any) -> str | None:
    """Give the key of a customer's id as the build holds it: the first eight bytes of its md5, halved."""
    if not isinstance(customer_id, str):
        return None
    digest = hashlib.md5(customer_id.encode(), usedforsecurity=False).digest()
    return str(int.from_bytes(digest[:8], "little") >> 1)


def _keys(lines: Columns) -> Columns:
    """Give the key of each thing that a line looks up; a missing one is None."""

    def joined(*names: str) -> list[Any]:
        return [SEPARATOR.join(v or "" for v in each) for each in zip(*(lines[n] for n in names), strict=True)]

    customer, nothing = lines["customer"], [""] * len(lines["item"])
    of_category = [None if c is None else k for c, k in zip(customer, joined("customer", "category"), strict=True)]
    return {
        "shop": nothing,
        "late": nothing,
        "market": joined("category", "country"),
        "item": joined("item"),
        "size": joined("item", "size"),
        "colour": joined("item", "colour"),
        "brand": lines["brand"],
        "customer": customer,
        "customer_category": of_category,
        "pace": customer,
        "country": joined("country"),
        "fit": joined("item"),
    }


def _counted(build: Build, source: str, lines: Columns) -> dict[str, np.ndarray[Any, Any]]:
    """Give what lines know, as `models.return_features.COUNTS`."""
    lines = {**lines, "customer": [_customer_key(v) for v in lines["customer_id"]]}
    keys, words = _keys(lines), [_words(name) for name in lines["name"]]
    wanted = {key for column in keys.values() for key in column if key is not None}
    state = _state(build, source, wanted.union(*words))
    nothing = np.array(_NOTHING)
    looked_up = {
        thing: np.array([nothing if k is None else state.get((thing, k), nothing) for k in column])
        for thing, column in keys.items()
    }

    def of(thing: str, part: int, missing: float = 0.0) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = looked_up[thing][:, part]
        return np.where([k is None for k in keys[thing]], missing, found)

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


def _state(build: Build, source: str, wanted: set[str]) -> dict[tuple[str, str], tuple[float, ...]]:
    """Look up the counts of things by their keys."""
    c = STAR.tables["estimate_probability_state"].c
    asked = select(c.thing, c.key, c.y, c.n, c.e, c.s).where(c.source == source, c.key.in_(_each(wanted)))
    return {(row[0], row[1]): row[2:] for row in build.fetch(asked).itertuples(index=False, name=None)}


def _words(name: Any) -> list[str]:
    """Give the words of a product's name as `probability_counts.words_sql` does."""
    import re

    return sorted(set(re.findall(r"[^\W\d_]{3,}", name.lower())))[:8] if isinstance(name, str) else []


def _word_rate(state: Mapping[tuple[str, str], tuple[float, ...]], words: Sequence[str], shop_rate: float) -> float:
    known = [state[("word", word)] for word in words if ("word", word) in state]
    if not words:
        return 0.0
    return float(sum(np.log((k[0] + 20 * shop_rate) / (k[2] + 20 * shop_rate)) for k in known) / len(words))


def _of_order(build: Build, lines: Columns) -> dict[str, np.ndarray[Any, Any]]:
    """Give what lines and their baskets are."""

    def number(name: str, missing: float) -> np.ndarray[Any, Any]:
        return np.array([missing if v is None else float(v) for v in lines[name]])

    def together(*names: str) -> np.ndarray[Any, Any]:
        """Give each line the number of its group: those of its order that agree in these columns."""
        found = list(zip(lines["order_id"], *([v or "" for v in lines[n]] for n in names), strict=True))
        numbers = {key: n for n, key in enumerate(dict.fromkeys(found))}
        return np.array([numbers[key] for key in found])

    def count(groups: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(np.bincount(groups)[groups])

    def several(groups: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
        pairs = {(g, v) for g, v in zip(groups.tolist(), lines[name], strict=True) if v is not None}
        return np.asarray(np.bincount([g for g, _ in pairs], minlength=int(groups.max()) + 1)[groups])

    net, order, item = number("net_amount", 0.0), together(), together("item")
    until = datetime.fromisoformat(build.info["observed_until"]).date()
    days = [until if d is None else date.fromisoformat(d) if isinstance(d, str) else d for d in lines["ordered_on"]]
    found = {
        "size_no": [_size(size) for size in lines["size"]],
        "sizes": np.maximum(several(item, "size"), 1),
        "colours": several(item, "colour"),
        "style_lines": count(item),
        "category_lines": count(together("category")),
        "lines": count(order),
        "basket_net": np.bincount(order, net)[order],
        "net": net,
        "discount": number("discount_amount", 0.0),
        "units": np.maximum(number("units", 1.0), 1.0),
        "is_gift": [float(v is True) for v in lines["is_gift"]],
        "is_store": [float(v == "store") for v in lines["channel"]],
        "window_days": number("window_days", NO_WINDOW_DAYS),
        "fee": number("fee_amount", 0.0),
        "month_no": [day.month for day in days],
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
    for line, found in zip(lines, scored, strict=True):
        country = line.get("country")
        ladder = [("lane", (country, found.category)), ("country", (country, None)), ("all", (None, None))]
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
