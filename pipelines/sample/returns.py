"""What comes back, why, how and when: outcomes of order lines and the whole timeline of each return.

Nothing here knows the as-of day's curtain: times run past it, and `files.py` does not write what lies behind. The one
idea: the final outcome of every order line is drawn once, from a probability whose mean per cell is the stated rate, so
the truth is known before the first file is written.
"""

from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from pipelines.sample.draws import (
    DAY,
    NEVER,
    Array,
    Columns,
    Rng,
    delay,
    intercepts,
    pick,
    pick_by,
    rank_within,
    working,
)
from pipelines.sample.network import Network
from pipelines.sample.shop import (
    BOUNCED,
    CONFORMITY,
    HEADLINE,
    PARCEL,
    REFUSED,
    SELLER_ERROR,
    STORE,
    TILL,
    TOTE,
    UNCOLLECTED,
    VOID,
    World,
    told_style,
)

WITHDRAWAL, COMMERCIAL, EXCHANGE = range(3)
METHODS = ("drop_off", "locker", "home_pickup", "store", "mail")
EXPIRED, CANCELLED, REJECTED = range(3)


def probabilities(world: World, styles: Columns, lines: Columns, who: Columns) -> tuple[Array, Array]:
    """Work out each line's final headline return probability of a unit, and the part of it a longer window adds."""
    p = world.parameters
    rate = np.array([p["ultimate_return_rate"][name] for name in world.categories])
    multiplier = world.market("multiplier").astype(float)
    share = np.bincount(lines["market"], lines["units"], len(multiplier))
    multiplier = multiplier / (multiplier @ share / share.sum())  # over all markets a category has its stated rate
    target = np.clip(rate[:, None] * multiplier, 0.005, 0.9).ravel()
    cell = lines["category"] * len(multiplier) + lines["market"]
    offset = styles["effect"][lines["style"]] + np.log(who["propensity"])[lines["customer"]]
    offset = (
        offset + p["several_sizes"]["effect"] * (lines["pair"] >= 0) + p["store_effect"] * (lines["channel"] == STORE)
    )
    cells = len(target)
    extra_of = np.zeros(cells)
    if "germany_window" in world.stories:
        story = world.stories["germany_window"]
        late = (lines["market"] == world.markets.index(story["market"])) & (
            lines["ordered_at"] >= world.since("germany_window")
        )
        cell = np.where(late, cell + cells, cell)
        extra_of = np.r_[extra_of, story["rate_points"] / (target + story["rate_points"])]
        target = np.r_[target, target + story["rate_points"]]
    alba = told_style(world, styles, "robe_alba")
    if alba >= 0:
        story = world.stories["robe_alba"]
        is_alba = lines["style"] == alba
        noted = lines["ordered_at"] >= world.since("robe_alba", story["note_weeks"])
        cell = np.where(is_alba, len(target) + noted, cell)
        offset = offset + np.where(is_alba, np.log(multiplier)[lines["market"]], 0.0)
        target, extra_of = np.r_[target, story["rate"], story["rate_after"]], np.r_[extra_of, 0.0, 0.0]
    sold = np.maximum(lines["units"] - lines["cancelled"], 0)
    solved = intercepts(offset, np.where(lines["forced"] < 0, sold, 0), cell, target)
    chance = 1 / (1 + np.exp(-(solved[cell] + offset)))
    return chance, extra_of[cell]


def outcomes(rng: Rng, world: World, lines: Columns, chance: Array, extra: Array, alba: int = -1) -> Columns:
    """Draw how many units of each line come back in the end, as what, and how long after delivery it is asked for.

    `alba` is the style whose returns are spread evenly over its lines instead of drawn.
    """
    p = world.parameters
    n = len(chance)
    sold = np.maximum(lines["units"] - lines["cancelled"], 0)
    draw = rng.random(n)
    second = (lines["pair"] >= 0) & (lines["line_no"] == 2)
    draw[second] = 1 - draw[lines["pair"][second]]  # of two sizes, mostly one is kept
    back = np.where(sold == 1, draw < chance, rng.binomial(sold, chance))
    back = np.where(lines["forced"] >= 0, lines["forced"], back).astype(np.int64)
    if alba >= 0:  # every so much probability one comes back: few units, and still the stated rate
        rows = np.flatnonzero((lines["style"] == alba) & (sold > 0))
        upto = np.cumsum(chance[rows]) + 0.5
        back[rows] = np.floor(upto) - np.floor(np.r_[0.5, upto[:-1]])
    kind = np.where(back > 0, HEADLINE, -1)

    other = rng.random(n)
    online, free = lines["channel"] != STORE, (back == 0) & (sold > 0) & (lines["forced"] < 0)
    edge = 0.0
    for code, name in (
        (CONFORMITY, "conformity"),
        (SELLER_ERROR, "seller_error"),
        (REFUSED, "refused"),
        (UNCOLLECTED, "uncollected"),
    ):
        share = p["other_returns"][name] / (1 - (chance.mean() if n else 0.0))
        hit = free & (other >= edge) & (other < edge + share) & (online | (code == CONFORMITY))
        kind[hit], back[hit] = code, sold[hit]
        edge += share
    ends = p["void_requests"]
    odds = sum(ends.values()) / (1 - sum(ends.values()))
    void = (kind < 0) & free & online & (rng.random(n) < np.minimum(odds * chance / (1 - chance), 0.8))
    kind[void], back[void] = VOID, sold[void]

    window = float(p["window_days"])
    shape = p["request_delay"]
    draw = rng.random(n) * ndtr(np.log(window / shape["median"]) / shape["sigma"])
    wait = shape["median"] * np.exp(shape["sigma"] * ndtri(np.maximum(draw, 1e-12)))
    late = rng.random(n) < p["late_requests"]["share"]
    wait = np.where(late, window + np.minimum(rng.exponential(p["late_requests"]["mean_days"], n), 15), wait)
    is_extra = (kind == HEADLINE) & (rng.random(n) < extra)
    if "germany_window" in world.stories:
        story = world.stories["germany_window"]
        begin, finish = story["extra_from_day"], story["window_days"][1]
        wait = np.where(is_extra, begin + (finish - begin) * rng.beta(1.1, 2.2, n), wait)
    is_postponed = rng.random(n) < p["christmas_window"]["postponed"]
    for first, after, until in world.christmas():  # asked for as late in a longer window as in the usual one
        length = (until - lines["delivered_at"]) / DAY
        able = (lines["ordered_at"] >= first) & (lines["ordered_at"] < after) & (length > window) & ~is_extra
        wait = np.where(is_postponed & able, wait * length / window, wait)
    years = p["conformity_delay"]
    wait = np.where(
        kind == CONFORMITY, np.minimum(years["median"] * np.exp(years["sigma"] * rng.standard_normal(n)), 729), wait
    )
    return {"chance": chance, "returned": back, "kind": kind, "wait": np.floor(wait * DAY), "is_extra": is_extra}


def exchanges(rng: Rng, world: World, lines: Columns, result: Columns, count: int) -> tuple[Columns, Columns]:
    """Add the lines that replace returned ones in another size; few of them come back."""
    p = world.parameters
    kinds = [row["sizes"] for row in p["categories"].values()]
    sized = np.array([kind != "one" for kind in kinds])
    asked = lines["delivered_at"] + result["wait"]
    able = (
        (result["kind"] == HEADLINE)
        & sized[lines["category"]]
        & (lines["channel"] < STORE)
        & (asked + 2 * DAY < world.end)
    )
    able &= lines["pair"] < 0
    rows = np.flatnonzero(able & (lines["forced"] < 0))
    rows = np.sort(rng.choice(rows, min(count, len(rows)), replace=False))
    n = len(rows)
    added = {name: values[rows].copy() for name, values in lines.items()}
    top = lines["order"].max() if len(lines["order"]) else 0
    added["order"] = top + 1 + np.arange(n)
    added["order_no"] = lines["order_no"].max() + 1 + np.arange(n)
    added["line_no"], added["lines_in_order"], added["units"] = np.ones(n, int), np.ones(n, int), np.ones(n, int)
    added["cancelled"], added["pair"], added["exchanged_from"] = np.zeros(n, int), np.full(n, -1), rows
    step = rng.choice([-1, 1], n)
    widest = np.array([len(p["sizes"][kind]["names"]) for kind in kinds])[added["category"]]
    moved = added["size"] + step
    added["size"] = np.where((moved < 0) | (moved >= widest), added["size"] - step, moved)
    added["ordered_at"] = asked[rows] + np.floor(rng.uniform(0.05, 1.5, n) * DAY)
    added["shipped_at"] = added["ordered_at"] + np.floor(delay(rng, n, **p["ship_delay"]))
    added["delivered_at"] = added["shipped_at"] + np.floor(delay(rng, n, **p["delivery_delay"]["domestic"]))
    result["is_exchanged"] = np.zeros(len(lines["order"]) + n, dtype=bool)
    result["is_exchanged"][rows] = True
    chance = np.full(n, p["exchange_return_rate"])
    again = outcomes(rng, world, added, chance, np.zeros(n))
    for name, values in again.items():
        result[name] = np.concatenate([result[name], values])
    return {name: np.concatenate([values, added[name]]) for name, values in lines.items()}, result


def return_lines(rng: Rng, world: World, lines: Columns, result: Columns) -> Columns:
    """Make one row a return line, grouped into returns, and the planted ones whose order nobody knows.

    `line` is the order line (for planted rows the one they imitate), `stray` is 0, 1 (order line empty) or 2 (unknown).
    """
    p = world.parameters
    line = np.flatnonzero(result["kind"] >= 0)
    kind = result["kind"][line]
    together = (kind == HEADLINE) & ~result["is_extra"][line] & (rng.random(len(line)) < p["return_together"])
    several = lines["lines_in_order"][line] > 1
    wait = result["wait"][line]
    first = np.full(lines["order"].max() + 1, NEVER)
    np.minimum.at(first, lines["order"][line[together & several]], wait[together & several])
    wait = np.where(together & several, first[lines["order"][line]], wait)
    rows: Columns = {
        "line": line,
        "order_no": lines["order_no"][line],
        "part": np.where(together, 0, lines["line_no"][line]),
        "units": result["returned"][line],
        "kind": kind,
        "wait": wait,
        "is_exchanged": result["is_exchanged"][line] & (kind == HEADLINE),
        "stray": np.zeros(len(line), dtype=np.int64),
    }
    able = np.flatnonzero((kind == HEADLINE) & ~rows["is_exchanged"] & (lines["channel"][line] != STORE))
    count = round(len(line) * p["dirt"]["without_order"])
    chosen = rng.choice(able, min(count, len(able)), replace=False)
    stray = {name: values[chosen].copy() for name, values in rows.items()}
    stray["order_no"] = 9_000_001 + np.arange(len(chosen))
    stray["stray"] = 1 + np.arange(len(chosen)) % 2
    return {name: np.concatenate([values, stray[name]]) for name, values in rows.items()}


def _ways(
    rng: Rng,
    world: World,
    network: Network,
    lines: Columns,
    goods: Columns,
    line: Array,
    requested: Array,
    kind: Array,
    is_known: Array,
) -> None:
    """Choose the way back of each return: till, tote, or a carrier and its method."""
    p = world.parameters
    market, channel, n = lines["market"][line], lines["channel"][line], len(line)
    has_store = network.store_of[market, lines["area"][line]] >= 0
    share = np.where(channel == STORE, p["till_returns"]["store"], p["till_returns"]["online"])
    sent = (kind == HEADLINE) | (kind == CONFORMITY) | (kind == SELLER_ERROR)
    till = has_store & (rng.random(n) < share) & sent
    way = np.where(till, TILL, PARCEL)
    if "totes" in world.stories:
        story = world.stories["totes"]
        french = (market == world.markets.index(story["market"])) & (requested >= world.since("totes")) & sent
        able = french & ~till & has_store & (channel != STORE) & is_known
        chance = story["share"] * french.sum() / max(able.sum(), 1)
        way[able & (rng.random(n) < chance)] = TOTE
    way[(kind == REFUSED) | (kind == UNCOLLECTED)] = BOUNCED
    names = list(p["carriers"])
    by_market = [[p["carriers"][name]["markets"].get(m, 0.0) for name in names] for m in world.markets]
    carrier = pick_by(rng, market, by_market)
    by_carrier = [[p["carriers"][name]["methods"].get(m, 0.0) for m in METHODS] for name in names]
    method = pick_by(rng, carrier, by_carrier)
    goods["carrier"] = np.where(way == TILL, -1, np.where(way == TOTE, len(names), carrier))
    goods["method"] = np.where(
        (way == TILL) | (way == TOTE), METHODS.index("store"), np.where(way == BOUNCED, -1, method)
    )
    goods["way"] = way


def timeline(rng: Rng, world: World, network: Network, lines: Columns, rows: Columns) -> Columns:
    """Lay out every return: one row a return (a parcel), times in seconds, infinity where a stage never comes.

    Adds to `rows` the position of their return (`of`) and their number in it (`no`).
    """
    back = _requests(lines, rows)
    _ways(rng, world, network, lines, back, back["line"], back["requested"], back["kind"], back["stray"] == 0)
    decide_after, end = _decisions(rng, world, back)
    _journeys(rng, world, lines, back)
    back["requested"] = _till_hours(rng, back)
    _keep_stages(back)
    back["inspected"] = _inspect(rng, world, back["received"], back["way"] == TILL)
    _end_void_requests(rng, world, back, decide_after, end)
    back["is_missed"] = _share_of(rng, back.pop("miss"), back["is_slow"]) & (back["way"] == PARCEL) & _has_goods(back)
    _hide_stages(back)
    _refund_times(rng, world, back)
    back["confirmed"] = _confirmed(back)
    promised = np.where(back["requested"] - lines["delivered_at"][back["line"]] <= 14 * DAY, WITHDRAWAL, COMMERCIAL)
    back["type"] = np.where(lines["channel"][back["line"]] == STORE, COMMERCIAL, promised)
    return back


def _has_goods(back: Columns) -> Array:
    has_goods: Array = back["kind"] != VOID
    return has_goods


def _requests(lines: Columns, rows: Columns) -> Columns:
    """Give each return its first line, kind, order, number in the order and time of request; number its rows."""
    _, first, of = np.unique(rows["order_no"] * 16 + rows["part"], return_index=True, return_inverse=True)
    rows["of"] = of
    rows["no"] = rank_within(of, rows["line"].astype(float))
    line, kind, order_no = rows["line"][first], rows["kind"][first], rows["order_no"][first]
    delivered = lines["delivered_at"][line]
    requested = delivered + np.maximum(rows["wait"][first], 600)
    requested = np.where(kind == REFUSED, delivered, np.where(kind == UNCOLLECTED, delivered + 14 * DAY, requested))
    return {
        "line": line,
        "kind": kind,
        "order_no": order_no,
        "stray": rows["stray"][first],
        "requested": requested,
        "return_no": rank_within(order_no, requested),
    }


def _decisions(rng: Rng, world: World, back: Columns) -> tuple[Array, Array]:
    """Approve each request, by hand or at once, and draw how the void ones end (EXPIRED, CANCELLED, REJECTED, else -1).

    Returns the seconds from request to approval, and the ends.
    """
    p, n = world.parameters, len(back["line"])
    back["is_manual"] = rng.random(n) >= p["approval"]["automatic_share"]
    by_hand = delay(rng, n, **_two(p["approval"]))
    after = np.floor(np.where(back["is_manual"], by_hand, 30 + 240 * rng.random(n)))
    end = np.where(_has_goods(back), -1, pick(rng, n, list(p["void_requests"].values())))
    back["approved"] = back["requested"] + after
    return after, end


def _slow_parcels(world: World, back: Columns) -> tuple[Array, Array, Array]:
    """Give the parcels of the slow carrier's story, and each return's chance of a missing scan and of loss."""
    p, n = world.parameters, len(back["line"])
    miss, lose = np.full(n, p["missing_scans"]), np.full(n, p["lost_parcels"])
    if "relais_atlantique" not in world.stories:
        return np.zeros(n, dtype=bool), miss, lose
    story = world.stories["relais_atlantique"]
    theirs = back["carrier"] == list(p["carriers"]).index(story["carrier"])
    later = back["handed"] >= world.since("relais_atlantique")
    slow = theirs & later & _has_goods(back) & (back["way"] == PARCEL)
    miss[slow], lose[slow] = story["missing_scans"][1], story["lost_parcels"][1]
    return slow, miss, lose


def _journeys(rng: Rng, world: World, lines: Columns, back: Columns) -> None:
    """Draw label, hand over, first scan, loss and receipt of each return, as if it were a parcel.

    Adds `is_slow` and the chance of a missing scan (`miss`) too.
    """
    p, n, is_bounced = world.parameters, len(back["line"]), back["way"] == BOUNCED
    back["label"] = back["approved"] + np.floor(delay(rng, n, **p["label_delay"]))
    back["handed"] = back["label"] + np.floor(delay(rng, n, **p["hand_over_delay"]))
    scan_after = delay(rng, n, **p["first_scan_delay"])
    back["is_slow"], back["miss"], lose = _slow_parcels(world, back)
    if "relais_atlantique" in world.stories:
        usual, later = world.stories["relais_atlantique"]["first_scan_days"]
        scan_after = np.where(back["is_slow"], scan_after * later / usual, scan_after)
    at_door = back["method"] == METHODS.index("home_pickup")
    scan_after = np.where(at_door, 600 + 3600 * rng.random(n), scan_after)
    back["handed"] = np.where(is_bounced, back["requested"], back["handed"])
    back["scanned"] = back["handed"] + np.floor(np.where(is_bounced, 0, scan_after))
    home = lines["market"][back["line"]] == world.markets.index("FR")
    transit = np.where(home, delay(rng, n, **p["transit"]["domestic"]), delay(rng, n, **p["transit"]["cross_border"]))
    if "totes" in world.stories:
        transit = np.where(back["way"] == TOTE, transit + world.stories["totes"]["extra_days"] * DAY, transit)
    is_lost = _share_of(rng, lose, back["is_slow"]) & (back["way"] == PARCEL)
    back["lost"] = np.where(is_lost, back["scanned"] + np.floor(rng.uniform(14, 21, n) * DAY), NEVER)
    arrival = working(back["scanned"] + np.floor(np.maximum(transit, 0.3 * DAY)))
    back["received"] = np.where(np.isfinite(back["lost"]), NEVER, arrival)


def _till_hours(rng: Rng, back: Columns) -> Array:
    """Draw when goods are brought to a till, in the store's hours; other requests stay when they are."""
    requested = back["requested"]
    opening = np.floor(requested / DAY) * DAY + 8 * 3600 + np.floor(10 * 3600 * rng.random(len(requested)))
    return np.where(back["way"] == TILL, np.where(opening > requested, opening, opening + DAY), requested)


def _keep_stages(back: Columns) -> None:
    """Leave out the stages that a return does not have: none for a void request, receipt alone at a till."""
    at_till = back["way"] == TILL
    for name in ("approved", "label", "handed", "scanned", "received", "lost"):
        back[name] = np.where(~_has_goods(back) | at_till, NEVER, back[name])
    back["received"] = np.where(at_till, back["requested"], back["received"])


def _end_void_requests(rng: Rng, world: World, back: Columns, decide_after: Array, end: Array) -> None:
    """Draw when void requests end: their label expires, or they are cancelled or rejected."""
    p, n, requested = world.parameters, len(end), back["requested"]
    void = ~_has_goods(back)
    cancelled = requested + np.floor(delay(rng, n, 1.0, 4.0))
    rejected = requested + np.floor(delay(rng, n, **_two(p["approval"])))
    back["approved"] = np.where(void & (end != REJECTED), requested + decide_after, back["approved"])
    back["label"] = np.where(void & (end == EXPIRED), back["approved"] + 600, back["label"])
    back["expired"] = np.where(void & (end == EXPIRED), back["label"] + p["label_expiry"] * DAY, NEVER)
    back["cancelled"] = np.where(void & (end == CANCELLED), cancelled, NEVER)
    back["rejected"] = np.where(void & (end == REJECTED), rejected, NEVER)
    back["approved"] = np.where(void & (back["cancelled"] <= back["approved"]), NEVER, back["approved"])


def _hide_stages(back: Columns) -> None:
    """Leave out what nobody sees: approval and label without a request online, hand over, and the missed scans."""
    unasked = (back["way"] == TILL) | (back["way"] == BOUNCED)
    for name in ("approved", "label"):
        back[name] = np.where(unasked, NEVER, back[name])
    back["handed_shown"] = np.where(unasked, NEVER, back["handed"])
    back["scan_shown"] = np.where(back["is_missed"], NEVER, back["scanned"])


def _refund_times(rng: Rng, world: World, back: Columns) -> None:
    """Draw when each return is refunded: after inspection or loss, at the till, or some at the first scan."""
    p, n, lost, inspected = world.parameters, len(back["line"]), back["lost"], back["inspected"]
    refund_after = np.floor(delay(rng, n, **p["refund_delay"]))
    refunded = np.where(
        np.isfinite(lost),
        lost + np.floor(rng.uniform(0.5, 3, n) * DAY),
        np.maximum(working(inspected + refund_after), inspected + 900),
    )
    refunded = np.where(back["way"] == TILL, back["received"] + 60, refunded)
    able = (back["way"] == PARCEL) & _has_goods(back) & np.isfinite(back["received"])
    back["is_instant"] = (rng.random(n) < p["instant_refunds"]) & able
    back["refunded"] = np.where(back["is_instant"], back["scanned"] + 3600, refunded)


def _confirmed(back: Columns) -> Array:
    """Give when it is first certain that goods come back: accepted on the way, received or refunded."""
    accepted = np.where(back["way"] == TOTE, back["handed"], back["scan_shown"])
    accepted = np.where(back["way"] == BOUNCED, back["scanned"], accepted)
    confirmed: Array = np.minimum(np.minimum(accepted, back["received"]), back["refunded"])
    return confirmed


def _two(shape: dict[str, Any]) -> dict[str, float]:
    return {"median": shape["median"], "p90": shape["p90"]}


def _share_of(rng: Rng, share: Array, slow: Array) -> Array:
    """Draw rows with probability `share`; of the `slow` ones, which share one value, exactly that share."""
    hit: Array = rng.random(len(share)) < share
    rows = np.flatnonzero(slow)
    if len(rows):
        hit[rows] = False
        hit[rng.permutation(rows)[: round(len(rows) * float(share[rows[0]]))]] = True
    return hit


def _inspect(rng: Rng, world: World, received: Array, at_till: Array) -> Array:
    """When each parcel is inspected: after its own delay, and in the backlog not before its turn in the queue."""
    own = np.floor(delay(rng, len(received), **world.parameters["inspection_delay"]))
    inspected = np.where(at_till, received, np.maximum(working(received + own), received + 900))
    if "january_backlog" in world.stories:
        begin = world.since("january_backlog")
        arrived = np.where(at_till, NEVER, received)
        base = ((arrived >= begin - 91 * DAY) & (arrived < begin)).sum() / 91
        each = DAY / max(base * world.stories["january_backlog"]["capacity"], 1e-9)
        queue = np.flatnonzero((arrived >= begin) & np.isfinite(arrived))
        queue = queue[np.argsort(arrived[queue], kind="stable")]
        turn = np.arange(len(queue))
        served = np.maximum.accumulate(arrived[queue] - turn * each) + (turn + 1) * each
        inspected[queue] = working(np.maximum(inspected[queue], np.floor(served + 0.25 * own[queue])))
    return inspected


def reasons(rng: Rng, world: World, styles: Columns, lines: Columns, rows: Columns) -> None:
    """Give return lines their reason (position in `wordings`), its wording and, to some, a note."""
    p = world.parameters
    names = list(p["wordings"])
    kinds = list(p["reasons"])
    shares = np.array([[p["reasons"][kind].get(name, 0.0) for name in names] for kind in kinds])
    line, n = rows["line"], len(rows["line"])
    of = np.array([kinds.index(row["sizes"]) for row in p["categories"].values()])[lines["category"][line]]
    alba = told_style(world, styles, "robe_alba")
    if alba >= 0:
        story = world.stories["robe_alba"]
        small = names.index("size_small")
        for part in ("too_small_share", "too_small_share_after"):
            row = shares[kinds.index("clothes")].copy()
            row[small] = 0
            row *= (1 - story[part]) / row.sum()
            row[small] = story[part]
            shares = np.vstack([shares, row])
        noted = lines["ordered_at"][line] >= world.since("robe_alba", story["note_weeks"])
        of = np.where(lines["style"][line] == alba, len(kinds) + noted, of)
    reason = pick_by(rng, of, shares)
    plain = lines["style"][line] != alba  # a story states its own reasons
    several = (lines["pair"][line] >= 0) & (rng.random(n) < p["several_sizes"]["stated"]) & plain
    reason = np.where(several, names.index("bracketing"), reason)
    reason = np.where(lines["is_gift"][line] & plain & (rng.random(n) < p["gift_stated"]), names.index("gift"), reason)
    reason = np.where(rows["kind"] == CONFORMITY, names.index("quality_defect"), reason)
    reason = np.where(rows["kind"] == SELLER_ERROR, names.index("wrong_item"), reason)
    rows["reason"] = np.where(
        (rng.random(n) < p["reason_missing"]) | np.isin(rows["kind"], (REFUSED, UNCOLLECTED)), -1, reason
    )
    rows["variant"] = rng.integers(0, 2, n)
    rows["has_note"] = (rng.random(n) < p["notes"]["share"]) & (rows["reason"] >= 0)


def lots(
    rng: Rng, world: World, lines: Columns, rows: Columns, back: Columns, dispositions: tuple[str, ...]
) -> Columns:
    """Split return lines into lots that share every stage, inspect and dispose of each."""
    p = world.parameters
    whole = np.arange(len(rows["line"]))
    split = (rows["units"] >= 2) & (rng.random(len(whole)) < p["lots_split"])
    extra = whole[split]
    row = np.r_[whole, extra]
    second = np.r_[np.zeros(len(whole), bool), np.ones(len(extra), bool)]
    half = rows["units"] // 2
    units = np.where(second, half[row], np.where(split[row], rows["units"][row] - half[row], rows["units"][row]))
    of, n = rows["of"][row], len(row)
    faulty = np.isin(
        rows["reason"][row], [list(p["wordings"]).index(name) for name in ("quality_defect", "damaged_transit")]
    )
    grade = pick_by(
        rng, faulty.astype(int), [list(p["conditions"]["sound"].values()), list(p["conditions"]["faulty"].values())]
    )
    beauty = lines["category"][rows["line"][row]] == world.categories.index("beauty")
    grade = np.where(beauty & (rng.random(n) < p["beauty_opened"]), 3, grade)
    outcomes = list(p["inspection_outcomes"].values())
    as_said = faulty | (back["way"][of] == TILL)  # a fault is no mismatch; at the till the assistant looks first
    found = pick_by(rng, as_said.astype(int), [outcomes, [1.0] + [0.0] * (len(outcomes) - 1)])
    grade = np.where(found == list(p["inspection_outcomes"]).index("worn"), np.maximum(grade, 2), grade)
    done = pick_by(rng, grade, [[p["dispositions"][g].get(name, 0.0) for name in dispositions] for g in "abcd"])
    inspected = back["inspected"][of] + np.where(second, np.floor(rng.uniform(0.05, 0.6, n) * DAY), 0.0)
    kept_in_store = back["way"][of] == TILL
    after = np.where(kept_in_store, rng.uniform(0.02, 0.3, n) * DAY, delay(rng, n, **p["restock_delay"]))
    finished = np.maximum(working(inspected + np.floor(after)), inspected + 600)
    realised = finished + np.floor(delay(rng, n, **p["recovery_delay"]))
    return {
        "row": row,
        "lot_no": 1 + second.astype(np.int64),
        "units": units,
        "grade": grade,
        "found": found,
        "disposition": done,
        "inspected": inspected,
        "finished": finished,
        "realised": realised,
    }
