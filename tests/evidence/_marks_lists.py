"""Marks, lists, intervals and charts in shops where nothing happens, or where only who bought differs.

Worlds are drawn order by order and return by return, apart from the estimators and from the sample shop. What the
pages do with their sums (intervals, differences, marks, scores) is done here with the same functions on arrays.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models import control, marks, rates
from models.products import expected_excess, fit_beta_binomial, fit_kappa, mix_ratio, probability_above
from tests.evidence import Claim

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

SHOPS = range(84_000, 84_200)
GROUPS = {"category": 9, "country": 8, "carrier": 5, "channel": 3, "brand": 14}


def _shares(group: Codes, size: int, cluster: Codes, hit: Array) -> tuple[Array, Array, Array]:
    """Give each group's share with its interval, as metrics do: Wilson's on the design effect of the clusters."""
    number, place = np.unique(cluster * size + group, return_inverse=True)
    of = number % size
    k, m = np.bincount(place, hit), np.bincount(place).astype(float)
    sums = [np.bincount(of, x, size) for x in (k, m, k * k, k * m, m * m)]
    effect = rates.effect_of_sums(*sums)
    low, high = rates.wilson(sums[0], sums[1], 0.9, effect)
    return sums[0] / np.where(sums[1] > 0, sums[1], np.nan), low, high


def _period(rng: np.random.Generator, popular: dict[str, Array], orders: int) -> dict[str, tuple[Codes, Codes, Array]]:
    """Draw one period: by list, the group, cluster and outcome of each row. Periods of a shop do not differ."""
    lines = 1 + rng.binomial(3, 0.25, orders)
    order = np.repeat(np.arange(orders), lines)
    brackets = rng.random(orders) < 0.15  # sizes to choose from: most come back together
    drawn = {name: rng.choice(p.size, orders if name != "category" else order.size, p=p) for name, p in popular.items()}
    usual = np.linspace(0.1, 0.4, 9)[drawn["category"]] * np.linspace(0.8, 1.2, 8)[drawn["country"]][order]
    back = (rng.random(order.size) < np.where(brackets[order], 0.7, usual)).astype(float)
    found = {name: (v if name == "category" else v[order], order, back) for name, v in drawn.items()}
    returns = rng.permutation(orders)[: orders // 3]
    late = rng.gamma(1.5, 1.0, returns.size)  # one slow parcel is late for all that is promised of it
    promises = np.repeat(np.arange(returns.size), 8)
    kept = (late[promises] + rng.normal(0, 0.4, promises.size) < 2.8).astype(float)
    for name in ("carrier", "country", "channel"):
        found[f"promise {name}"] = (drawn[name][returns][promises], promises, kept)
    return found


def looks() -> Iterator[Claim]:
    """Count false marks where two periods of a shop are drawn alike."""
    apart, together, any_ = [], [], []
    for seed in SHOPS:
        rng = np.random.default_rng(seed)
        popular = {name: rng.dirichlet(np.full(k, 2.0)) for name, k in GROUPS.items()}
        orders = int(rng.choice([2_000, 6_000, 20_000]))
        periods = [_period(rng, popular, orders) for _ in range(2)]
        found = []
        for name in periods[0]:
            size = GROUPS[name.split()[-1]]
            both = [_shares(p[name][0], size, p[name][1], p[name][2]) for p in periods]
            seen = np.minimum(*(np.bincount(p[name][0], minlength=size) for p in periods)) >= 30
            found.append(np.column_stack(rates.difference(*both[0], *both[1])[:3])[seen])
        bounds = np.vstack(found)
        alone = (bounds[:, 1] > 0) | (bounds[:, 2] < 0)
        marked = marks.beyond_noise(*bounds.T)
        apart.append(float(alone.mean()))
        together.append(int(marked.sum()))
        any_.append(bool(marked.any()))
    yield Claim(
        f"Null shop: false marks a look, {len(SHOPS)} shops, eight lists of {bounds.shape[0]} groups",
        "at most .3",
        f"{np.mean(together):.2f} a look, at least one in {np.mean(any_):.0%}; each for itself {np.mean(apart):.1%} of"
        f" all groups",
        float(np.mean(together)) <= 0.3,
    )
    yield Claim(
        "Null shop: differences whose 90% interval excludes none",
        "8 to 12%",
        f"{np.mean(apart):.1%}",
        0.08 <= float(np.mean(apart)) <= 0.12,
    )


def promises() -> Iterator[Claim]:
    """Check the interval of promises kept where each return was promised eight things."""
    covered, plain, truth = [], [], None
    for seed in SHOPS:
        rng = np.random.default_rng([seed, 1])
        popular = {name: np.full(k, 1 / k) for name, k in GROUPS.items()}
        if truth is None:  # the same for all groups
            group, _, kept = _period(rng, popular, 600_000)["promise carrier"]
            truth = float(kept.mean())
        group, cluster, kept = _period(rng, popular, 4_000)["promise carrier"]
        _, low, high = _shares(group, 5, cluster, kept)
        covered.append((low <= truth) & (truth <= high))
        low, high = rates.wilson(np.bincount(group, kept, 5), np.bincount(group, minlength=5), 0.9)
        plain.append((low <= truth) & (truth <= high))
    held, before = float(np.mean(covered)), float(np.mean(plain))
    yield Claim(
        f"Eight promises a return: 90% intervals of the share kept cover the truth ({len(SHOPS)} shops x 5 carriers)",
        "86-94%",
        f"{held:.1%}; counting each promise {before:.1%}",
        0.86 <= held <= 0.94,
    )


def ranking() -> Iterator[Claim]:
    """Rank products whose own effect has nothing to do with the market they are sold in."""
    share, old, right = [], [], []
    for seed in SHOPS:
        rng = np.random.default_rng([seed, 2])
        products, markets = 2_000, 4
        category, home = rng.integers(0, 6, products), (rng.random(products) < 0.5).astype(int)
        units = np.round(rng.lognormal(np.log(60), 1.0, products)) + 1
        mix = np.array([rng.dirichlet([8, 1, 1, 1] if h else [1, 5, 3, 2]) for h in home])
        sold = rng.poisson(units[:, None] * mix).astype(float)
        own = np.exp(0.2 * rng.standard_t(5, products))
        level = np.linspace(0.1, 0.3, 6)[category, None] * np.array([1.8, 1.0, 0.8, 0.9])
        back = rng.binomial(sold.astype(int), np.clip(level * own[:, None], 0, 0.95)).astype(float)
        came, of = (np.stack([np.bincount(category, x[:, c], 6) for c in range(markets)], 1) for x in (back, sold))
        at = (
            np.repeat(np.arange(products), markets),
            np.repeat(category, markets),
            np.tile(np.arange(markets), products),
        )
        ratio = mix_ratio(*at, back.ravel(), sold.ravel(), (came, of))
        r, n = back.sum(1), sold.sum(1)
        priors = np.array([fit_beta_binomial(r[category == c], n[category == c]) for c in range(6)])[category]
        usual = priors[:, 0] / priors.sum(1)
        market = np.clip(usual * ratio, 1e-4, 0.999)
        kappa = priors.sum(1) * max(fit_kappa(r, n, market) / fit_kappa(r, n, usual), 1.0)
        tops = []
        for mean, worth in ((usual, priors.sum(1)), (market, kappa)):
            a, b = mean * worth, (1 - mean) * worth
            score = probability_above(r, n, a, b, mean) * expected_excess(r, n, a, b, mean) * n
            tops.append(np.argsort(-score, kind="stable")[:20])
        old.append(float(home[tops[0]].mean()))
        share.append(float(home[tops[1]].mean()))
        excess = (sold * level).sum(1) * (own - 1)
        right.append(float((excess[tops[1]] >= np.quantile(excess, 0.9)).mean()))
    yield Claim(
        f"Top 20 by own effect, half of all products sold mostly in a market of 1.8x returns ({len(SHOPS)} shops)",
        "35 to 65% of them are of that market",
        f"{np.mean(share):.0%}; against the category alone {np.mean(old):.0%}",
        0.35 <= float(np.mean(share)) <= 0.65,
    )
    yield Claim(
        "Top 20 by own effect are in the true top decile of own excess units",
        "at least 85%",
        f"{np.mean(right):.1%}",
        float(np.mean(right)) >= 0.85,
    )


def _backlog(rng: np.random.Generator, weeks: int, extra: float) -> Array:
    """Draw the share of parcels that a site with a queue handles in time; `extra` work comes in the last four weeks."""
    waiting, share = 0.0, np.empty(weeks)
    for week in range(-30, weeks):
        coming = rng.gamma(40, 1 / 40) + (extra if week >= weeks - 4 else 0.0)
        waiting = max(waiting + coming - 1.06, 0.0)
        if week >= 0:
            share[week] = 0.97 * np.exp(-0.5 * waiting)
    return share


def charts() -> Iterator[Claim]:
    """Watch a site whose queue makes one week like the next."""
    found: dict[str, list[bool]] = {"quiet": [], "independent": [], "worse": []}
    is_base = np.arange(52) < 40
    for seed in SHOPS:
        rng = np.random.default_rng([seed, 3])
        n = rng.poisson(400, 52)
        for name in found:
            share = _backlog(rng, 52, 0.4 if name == "worse" else 0.0)
            if name == "independent":
                share = rng.permutation(share)
            signal = control.shares(rng.binomial(n, share), n, is_base).signal[40:]
            found[name].append(bool((signal != "").any()))
    mean = {name: float(np.mean(of)) for name, of in found.items()}
    yield Claim(
        f"Control chart of a site with a queue, nothing new: any signal in 12 weeks ({len(SHOPS)} sites)",
        "at most 1.5x that of the same weeks shuffled, or 30%",
        f"{mean['quiet']:.0%}; shuffled {mean['independent']:.0%}",
        mean["quiet"] <= max(1.5 * mean["independent"], 0.3),
    )
    yield Claim(
        "Control chart of a site with a queue, 40% more work for four weeks: a signal",
        "at least 75%",
        f"{mean['worse']:.0%}",
        mean["worse"] >= 0.75,
    )


def claims() -> Iterator[Claim]:
    """Prove the claims of each part one after the other."""
    for part in (looks, promises, ranking, charts):
        yield from part()
