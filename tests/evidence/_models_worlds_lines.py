"""The probability of a return, line by line, in shops whose oracle is known.

Lines of the last 45 days are scored by the product (`rows` of `expected_return_rate`, by the documented API) before
their returns are known, and held against what came and against what an oracle would have said. What the product says
about its model is read from the answer itself and, where there is one, from `backhaul model`.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

import backhaul
from tests.evidence import Claim
from tests.evidence._worlds_asked import answers, ask, failed, loaded, share, whole
from tests.worlds import Shop, buyers

SHOPS, DESIGNED_SHOPS = 100, 5
RECENT, BINS = 45, 10
WORLDS: dict[str, Callable[[int], Shop]] = {
    "noise, 8,000 lines": lambda seed: buyers.noise(seed, lines=8_000),
    "noise, 30,000 lines": lambda seed: buyers.noise(seed, lines=30_000),
    "fit, brackets and serial buyers": lambda seed: buyers.fit(seed, lines=25_000),
    "the design's": lambda seed: buyers.designed(seed, lines=200_000, products=400),
    "net amount written anew after the return": lambda seed: buyers.rewritten_net(buyers.fit(seed, lines=8_000)),
    "delivery date only of what is kept": lambda seed: buyers.delivered_if_kept(buyers.fit(seed, lines=8_000)),
}
GAPS = {"fit, brackets and serial buyers": 0.06, "the design's": 0.045}
NAMED = {
    "net amount written anew after the return": ("net", "amount", "price"),
    "delivery date only of what is kept": ("deliver",),
}


def asked(world: str, seed: int, folder: Path) -> dict[str, Any]:
    """Ask a shop for its recent lines' probabilities and what it says about them, beside what came."""
    shop = WORLDS[world](seed)
    at = loaded(shop, folder)
    said = {"why": "", "model": _model(at)}
    since = shop.until - timedelta(days=RECENT - 1)
    with backhaul.connect(at) as open_shop:
        [answer] = open_shop.metric("expected_return_rate").to_dict("records")
        said["why"], said["status"] = str(answer["why"]), str(answer["status"])
        rows = open_shop.rows("expected_return_rate", since=since, limit=None)
    if rows.empty or answer["status"] != "ok":
        return {**said, "lines": 0}
    rows = rows.assign(line=rows["order_line_id"].str.extract(r"L(\d+)$")[0].astype(int)).dropna(subset=["counted"])
    true = shop.lines.set_index("line").loc[rows["line"]]
    told, came, oracle = rows["counted"].to_numpy(float), true["is_returned"].to_numpy(), true["probability"].to_numpy()
    return {
        **said,
        "lines": len(rows),
        "auc": _auc(told, came),
        "oracle_auc": _auc(oracle, came),
        "bins": _bins(told, came),
        "oracle_bins": _bins(oracle, came),
    }


def _model(at: Path) -> str:
    """Say what `backhaul model` says of the probability; nothing where there is no such verb."""
    try:
        return str(ask(at, "model"))
    except RuntimeError as error:
        if "No such command" in str(error):
            return ""
        raise


def _auc(said: Any, came: Any) -> float:
    """Give the chance that a line that came back was told a higher probability than one that did not."""
    ones, rank = int(came.sum()), rankdata(said)
    return float((rank[came].sum() - ones * (ones + 1) / 2) / max(ones * (len(came) - ones), 1))


def _bins(said: Any, came: Any) -> list[list[float]]:
    """Give each tenth of what can be said: how many, their sum said, how many came."""
    part = np.minimum((said * BINS).astype(int), BINS - 1)
    return [[float((part == i).sum()), float(said[part == i].sum()), float(came[part == i].sum())] for i in range(BINS)]


def _error(shops: list[Any], name: str) -> float:
    """Give the calibration error of all shops together."""
    count, said, came = np.sum([a[name] for a in shops], axis=0).T
    return float(np.abs(said - came).sum() / max(count.sum(), 1))


def claims() -> Iterator[Claim]:
    """Hold use, gap, calibration and leaks against the bars."""
    for world in WORLDS:
        found = answers(__name__, world, DESIGNED_SHOPS if world == "the design's" else SHOPS)
        shops, errors = whole(found), failed(found)
        if world.startswith("noise"):
            used = share(a["status"] == "ok" and "no usable signal" not in a["model"] for a in shops)
            yield Claim(
                f"Probability of a return, {world} ({len(shops)} shops): noise is used",
                "in at most 5%",
                f"{used:.1%}{errors}",
                bool(not errors and used <= 0.05),
            )
        elif world in GAPS:
            yield from _gap(world, [a for a in shops if a["lines"]], len(shops), errors)
        else:
            words = NAMED[world]
            named = share(any(w in f"{a['why']} {a['model']}".lower() for w in words) for a in shops)
            scored = [a["auc"] - a["oracle_auc"] for a in shops if a["lines"]]
            beyond = f"; AUC {np.mean(scored):+.3f} from the oracle's where shown" if scored else ""
            yield Claim(
                f"Leak, {world} ({len(shops)} shops): it is named",
                "in every shop",
                f"in {named:.1%}{beyond}{errors}",
                bool(not errors and named == 1),
            )


def _gap(world: str, shown: list[Any], asked_shops: int, errors: str) -> Iterator[Claim]:
    name = f"Probability of a return, {world} world ({asked_shops} shops, shown in {len(shown)})"
    if not shown:
        yield Claim(name, "shown", f"in none{errors}", False)
        return
    own, oracle = (float(np.mean([a[k] for a in shown])) for k in ("auc", "oracle_auc"))
    yield Claim(
        f"{name}: AUC below the oracle's by",
        f"at most {GAPS[world]}, shown in at least 90%, never above it by .003",
        f"{oracle - own:.3f} ({own:.3f}, oracle {oracle:.3f}){errors}",
        bool(not errors and -0.003 <= oracle - own <= GAPS[world] and len(shown) >= 0.9 * asked_shops),
    )
    error, of_oracle = _error(shown, "bins"), _error(shown, "oracle_bins")
    yield Claim(
        f"{name}: calibration error",
        "at most the oracle's + .004",
        f"{error:.4f}, oracle {of_oracle:.4f}{errors}",
        bool(not errors and error <= of_oracle + 0.004),
    )
