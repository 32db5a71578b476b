"""Marks, lists and verdicts: where nothing differs, where buyers differ, and where products were picked for their luck.

Pages are opened as a visitor opens them. Actions are logged (`backhaul action add`) on products that the product's own
lists put first on the day before, among the sales of the twelve weeks before, and measured (`backhaul action measure`)
eight mature weeks later.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tests.evidence import Claim
from tests.evidence._worlds_asked import answers, ask, between, failed, loaded, share, whole
from tests.first_number import opened
from tests.pages import lines
from tests.worlds import Shop, products

SHOPS = 100
LISTED, PICKED, LEAST = 20, 12, 20
PAGES = ("today", "returns", "products", "delays")
SILENT = ("not significant", "no comparison", "not final")
WORLDS: dict[str, Callable[[int], Shop]] = {
    "null shop": products.null,
    "country mix": products.country_mix,
    "left alone": products.left_alone,
    "200 units a month": lambda seed: products.left_alone(seed, monthly=200, products=80),
    "one supplier with drift": products.drifting_supplier,
    "a real effect of -15%": lambda seed: products.effective(seed, products=120),
}
CHOICES = {
    "left alone": ("chosen by our own score", "chosen as significant", "chosen by lot"),
    "200 units a month": ("chosen by lot",),
    "one supplier with drift": ("of the supplier",),
    "a real effect of -15%": ("drawn by lot",),
}
"""Products that an action is said to have been done on, one choice after the other in the same shop."""


def asked(world: str, seed: int, folder: Path) -> dict[str, Any]:
    """Ask a shop what its world is about."""
    shop = WORLDS[world](seed)
    at = loaded(shop, folder)
    if world == "null shop":
        marks = {page: _marks(folder, page) for page in PAGES}
        return {"marks": marks, "marked": sum(map(len, marks.values()))}
    if world == "country mix":
        return _listed(shop, at, folder)
    return {choice: _measured(choice, seed, shop, at) for choice in CHOICES[world]}


def _marks(folder: Path, page: str) -> list[str]:
    """Open a page and give what it marks as more than chance: figures with a change, listed changes, flagged goods."""
    seen = opened(folder, page)
    if seen.exception:
        raise RuntimeError(f"{page}: {seen.exception[0].value}")
    changes = [(m.label, m.delta) for m in seen.metric] + [(name, change) for name, _, change in lines(seen)]
    marks = [f"{name} {change}" for name, change in changes if change and not any(s in change for s in SILENT)]
    for table in seen.dataframe:
        if "is_flagged" in table.value:
            marks += [f"flagged {name}" for name in table.value.loc[table.value["is_flagged"].astype(bool), "name"]]
    names = [type(e).__name__ for e in seen.main]
    texts = [str(getattr(e, "value", "")) for e in seen.main]
    if "Significant changes" in texts:
        begun = texts.index("Significant changes") + 1
        ended = next((i for i in range(begun, len(texts)) if names[i] == "Subheader"), len(texts))
        marks += [e.proto.label for e in list(seen.main)[begun:ended] if e.type == "page_link"]
    return marks


def _listed(shop: Shop, at: Path, folder: Path) -> dict[str, Any]:
    """Give the country of the products that lists put first: the page's, and the one by own effect."""
    home, own = shop.truth["home"], shop.truth["own"]
    rows = [r for r in ask(at, "metric", "own_part", "--by", "style_id") if r["value"] is not None]
    effect = [r["style_id"].split(":")[1] for r in sorted(rows, key=lambda r: -r["value"])[:LISTED]]
    names = next(t.value for t in opened(folder, "products").dataframe if "is_flagged" in t.value)["name"]
    page = [n.removeprefix("Style ") for n in names[:LISTED]]
    return {
        "effect_abroad": share(home[s] == "DE" for s in effect),
        "page_abroad": share(home[s] == "DE" for s in page),
        "effect_own": float(np.mean([own[s] for s in effect])) if effect else None,
        "page_own": float(np.mean([own[s] for s in page])) if page else None,
    }


def _measured(choice: str, seed: int, shop: Shop, at: Path) -> dict[str, Any]:
    """Log an action on the products that are chosen, measure it, and take it back."""
    done_on = shop.truth["done_on"]
    chosen = shop.truth.get("acted") or _chosen(choice, seed, at, done_on)
    on = [word for style in chosen for word in ("--on", f"style_id=shop:{style}")]
    [action] = ask(at, "action", "add", "photo", *on, "--effective", str(done_on))
    [found] = ask(at, "action", "measure", str(action["action_id"]))
    ask(at, "action", "update", str(action["action_id"]), "--status", "withdrawn")
    told = {name: found[name] for name in ("verdict", "change", "low", "high", "units", "reason")}
    return {**told, "effect": float(np.expm1(shop.truth["effect"])), "products": len(chosen)}


def _chosen(choice: str, seed: int, at: Path, done_on: Any) -> list[str]:
    """Choose products as somebody who opened a list the day before: by score, as significant, or by lot."""
    key = "probability_above_category" if choice == "chosen as significant" else "own_part"
    day = str(done_on - timedelta(days=1))
    asked_of = ("--as-of", day, "--from", str(done_on - timedelta(days=84)), "--to", day)
    rows = [r for r in ask(at, "metric", key, "--by", "style_id", *asked_of) if r["value"] is not None]
    rows.sort(key=lambda r: -r["value"])
    if choice == "chosen by lot":
        rows = [rows[i] for i in np.random.default_rng([seed, 1]).permutation(len(rows))]
    elif choice == "chosen as significant":
        rows = [r for r in rows if r["value"] >= 0.9] or rows[:PICKED]
    return [r["style_id"].split(":")[1] for r in rows[:PICKED]]


def claims() -> Iterator[Claim]:
    """Hold marks, lists and verdicts against the bars."""
    yield from _null()
    yield from _country()
    for world, choices in CHOICES.items():
        found = answers(__name__, world, SHOPS)
        for choice in choices:
            name = f"{world}, {choice}"
            yield from _verdicts(world, name, [a[choice] for a in whole(found)], failed(found))


def _null() -> Iterator[Claim]:
    found = answers(__name__, "null shop", SHOPS)
    shops, errors = whole(found), failed(found)
    looks = {page: float(np.mean([len(a["marks"][page]) for a in shops])) if shops else np.nan for page in PAGES}
    worst = max(looks.values())
    yield Claim(
        f"Null shop ({len(shops)} shops): false marks a look",
        "at most .3 on every page",
        ", ".join(f"{page} {count:.2f}" for page, count in looks.items()) + errors,
        bool(not errors and worst <= 0.3),
    )


def _country() -> Iterator[Claim]:
    found = answers(__name__, "country mix", SHOPS)
    shops, errors = whole(found), failed(found)
    for key, name in (("effect", "Top 20 by effect"), ("page", "First 20 of the page of products")):
        abroad = float(np.mean([a[f"{key}_abroad"] for a in shops])) if shops else np.nan
        own = float(np.mean([a[f"{key}_own"] for a in shops])) if shops else np.nan
        yield Claim(
            f"{name}, country mix ({len(shops)} shops): share of the country where more comes back, with half of all",
            "35-65%, and products that truly come back more (factor 1.1 or more on average)",
            f"{abroad:.1%}, factor {own:.2f}{errors}",
            bool(not errors and between(abroad, 0.35, 0.65) and own >= 1.1),
        )


def _verdicts(world: str, name: str, shops: list[Any], errors: str) -> Iterator[Claim]:
    """Judge verdicts: false where nothing was done; intervals of those that were measured; power of the real effect."""
    judged = share(a["verdict"] in ("fell", "rose") for a in shops)
    shown = [a for a in shops if a["low"] is not None and a["high"] is not None]
    covered = share(a["low"] <= a["effect"] <= a["high"] for a in shown)
    kinds = ", ".join(f"{k} {sum(a['verdict'] == k for a in shops)}" for k in sorted({a["verdict"] for a in shops}))
    if world == "a real effect of -15%":
        fell = share(a["verdict"] == "fell" for a in shops)
        units = float(np.mean([a["units"] or 0 for a in shops])) if shops else np.nan
        yield Claim(
            f"Actions, {name}, 20 products for eight mature weeks ({len(shops)} shops, {units:,.0f} units): power",
            "at least .75",
            f"{fell:.2f} ({kinds}){errors}",
            bool(not errors and fell >= 0.75),
        )
    else:
        yield Claim(
            f"Actions, {name}, nothing done ({len(shops)} shops): false verdicts",
            "at most 7%",
            f"{judged:.1%} ({kinds}){errors}",
            bool(not errors and judged <= 0.07),
        )
    may_refuse = world == "one supplier with drift"
    yield Claim(
        f"The same, {name}: 90% intervals cover ({len(shown)} shops measured)",
        "86-95%" + (", or every verdict refused" if may_refuse else f", at least {LEAST} shops measured"),
        (f"{covered:.1%}" if shown else "none measured") + errors,
        bool(
            not errors
            and shops
            and ((may_refuse and not shown) or (between(covered, 0.86, 0.95) and (may_refuse or len(shown) >= LEAST)))
        ),
    )
