"""Stage times and breach risks in a world that moves: a backlog that grows, refunds on Tuesdays, a shop with stories.

Stages here are queues: goods come by the day of the week, hands are few and work on weekdays, and nobody is drawn from
the life table that judges them. Risks and days are those of whole shops with everything that a real one has wrong.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models import breach, pace, promises
from models.model_judgement import calibration_error
from tests.evidence import Claim
from tests.evidence._promises_risk import FIRST_SEED, SHOPS, said_and_came

Array = NDArray[np.float64]
WORLDS, FIRST_WORLD = 100, 71_000
DAYS, AHEAD = 52 * 7, 56  # days known, and the days after whose waits the p90 is held against
NOISE_FITS = 200
ARRIVING = np.array([1.6, 1.2, 1.1, 1.0, 1.0, 0.4, 0.1])  # by weekday, Monday first


def queue(rng: np.random.Generator, capacity: Array, a_day: float) -> tuple[Array, Array]:
    """Draw when goods come and are done: first come, first served, so many a day, and some need a second look."""
    days = len(capacity)
    coming = rng.poisson(a_day * ARRIVING[np.arange(days) % 7] / ARRIVING.mean())
    begun = np.repeat(np.arange(days), coming) + rng.beta(4, 3, coming.sum())
    begun = np.sort(begun)
    served = np.full(len(begun), np.inf)
    finished = 0
    for day in range(days):  # the hands of a day take what has come, in its turn
        waiting = int(np.searchsorted(begun, day + 0.75, side="right")) - finished
        takes = int(min(waiting, rng.poisson(capacity[day])))
        served[finished : finished + takes] = day + 0.75 + rng.uniform(0, 0.25, takes)
        finished += takes
    second = rng.random(len(begun)) < 0.12
    done = served + np.where(second, rng.gamma(2.0, 1.5, len(begun)), 0.0)
    return begun, np.maximum(done, begun)


def backlog(seed: int, growth: float = 3.0) -> tuple[Array, Array]:
    """Draw a stage whose hands kept up until they do not: over three to six weeks what waits grows `growth` times."""
    rng = np.random.default_rng(seed)
    a_day = float(rng.choice([60, 120, 250]))
    whole = DAYS + AHEAD + 60
    works = np.isin(np.arange(whole) % 7, (5, 6), invert=True)
    capacity = np.where(works, a_day * 7 / 5 * 1.04, 0.0)
    usual = 2.0 * a_day  # about what waits in a week
    weeks = rng.uniform(3, 6)
    less = (growth - 1) * usual / (weeks * 7) * 7 / 5
    started = int(DAYS - 7 * weeks)
    capacity[started:] = np.where(works[started:], np.maximum(a_day * 7 / 5 - less, 0.3 * a_day), 0.0)
    return queue(rng, capacity, a_day)


def steady(seed: int) -> tuple[Array, Array]:
    """Draw a stage whose hands keep up, with the same noise."""
    rng = np.random.default_rng(seed)
    a_day = float(rng.choice([60, 120, 250]))
    whole = DAYS + AHEAD + 60
    works = np.isin(np.arange(whole) % 7, (5, 6), invert=True)
    return queue(rng, np.where(works, a_day * 7 / 5 * 1.12, 0.0), a_day)


def tuesday(seed: int) -> tuple[Array, Array]:
    """Draw refunds that go out on Tuesdays alone, after a check of gamma length; one in thirty waits for a month."""
    rng = np.random.default_rng(seed)
    a_day = float(rng.choice([20, 60, 120]))
    whole = DAYS + AHEAD + 60
    coming = rng.poisson(a_day * ARRIVING[np.arange(whole) % 7] / ARRIVING.mean())
    begun = np.repeat(np.arange(whole), coming) + rng.beta(4, 3, coming.sum())
    ready = begun + rng.gamma(1.5, 1.2, len(begun)) + np.where(rng.random(len(begun)) < 1 / 30, 28.0, 0.0)
    day = np.floor(ready).astype(int) + 1
    done = day + (1 - day) % 7 + 0.4
    return begun, done.astype(float)


def tables(begun: Array, done: Array, until: float) -> tuple[Array, Array, Array]:
    """Count the waits of each of the last weeks by age in days: entered, left and ended ([week, age])."""
    entered, left, ended = (np.zeros((pace.WEEKS, 90)) for _ in range(3))
    for week in range(pace.WEEKS):
        start, end = until - 7 * (week + 1), until - 7 * week
        inside = (begun < end) & (done > start)
        b, d = begun[inside], done[inside]
        from_age = np.minimum(np.floor(np.maximum(start - b, 0)), 89).astype(int)
        to_age = np.minimum(np.floor(np.minimum(d, end) - b), 89).astype(int)
        np.add.at(entered[week], from_age, 1.0)
        np.add.at(left[week], to_age, 1.0)
        np.add.at(ended[week], to_age[d <= end], 1.0)
    return entered, left, ended


def judged(begun: Array, done: Array) -> tuple[float, bool]:
    """Give the share of the next waits within the p90 said of the last 13 weeks, and whether the alarm is given."""
    known = (begun >= DAYS - 91) & (begun < DAYS)
    is_open = done[known] > DAYS
    hours = np.floor((np.minimum(done[known], DAYS) - begun[known]) * 24 + 0.5)
    bins, place = np.unique(hours, return_inverse=True)
    cause = np.where(is_open, promises.OPEN, promises.COMPLETED)
    table = promises.life_table(np.zeros(len(cause), int), place, cause, np.ones(len(cause)), 1, bins.size)
    p90 = float(promises.completion_quantiles(bins / 24, table, [0.9], draws=2)[0, 0, 0])
    coming = (begun >= DAYS) & (begun < DAYS + AHEAD)
    return float(np.mean(done[coming] - begun[coming] <= p90)), pace.pace(*tables(begun, done, DAYS)).is_drifting


def noise(seed: int, rows: int = 3000) -> bool:
    """Fit breaches that their lane alone explains on features that say nothing; say whether the model is used."""
    rng = np.random.default_rng(seed)
    day = rng.integers(0, 23, rows) * 8.0
    shared = rng.normal(0, 0.3, 23)[(day // 8).astype(int)]  # what snapshots of one day have in common
    lane = rng.beta(2, 6, rows)
    truth = 1 / (1 + np.exp(-(np.log(lane / (1 - lane)) + shared)))
    frame = {f: rng.normal(size=rows) for f in breach.FEATURES}
    broken = (rng.random(rows) < truth).astype(float)
    model = breach.fit(frame, broken, day, day + rng.gamma(2, 3, rows), lane)
    return model is not None and model.beats_base_rate()


def _stages() -> Iterator[Claim]:
    for name, world in (("growing threefold", backlog), ("Tuesdays alone", tuesday)):
        found = [judged(*world(FIRST_WORLD + i)) for i in range(WORLDS)]
        share = np.array([s for s, _ in found])
        alarmed = np.array([a for _, a in found])
        held = (share >= 0.88) & (share <= 0.92)
        yield Claim(
            f"p90 of a stage, {'a backlog ' if world is backlog else 'refunds on '}{name} ({WORLDS} worlds): it holds"
            " 88 to 92% of the waits of the next eight weeks, or carries the alarm",
            "in at least 90%",
            f"{np.mean(held | alarmed):.0%}; holds in {held.mean():.0%}, alarm in {alarmed.mean():.0%}; mean share"
            f" {share.mean():.1%}",
            bool(np.mean(held | alarmed) >= 0.9),
        )
    calm = np.mean([judged(*steady(FIRST_WORLD + 1000 + i))[1] for i in range(WORLDS)])
    yield Claim(
        f"The same alarm where hands keep up ({WORLDS} worlds)",
        "in at most 5%",
        f"{calm:.0%}",
        bool(calm <= 0.05),
    )


def _risks() -> Iterator[Claim]:
    found = [said_and_came(FIRST_SEED + i, is_moving=True) for i in range(SHOPS)]
    risks, dates = pd.concat([r for r, _ in found]), pd.concat([d for _, d in found])
    error = calibration_error(risks["broken"], risks["probability"])
    yield Claim(
        f"Risk of open promises with stories and dirt, four weeks before, two days into a peak ({SHOPS} shops,"
        f" {len(risks):,} open promises): pooled calibration error",
        "at most 0.02",
        f"{error:.3f}; said {risks['probability'].mean():.1%}, broken {risks['broken'].mean():.1%}",
        error <= 0.02,
    )
    gap = risks.groupby("promise_id")[["probability", "broken"]].mean()
    off = (gap["probability"] - gap["broken"]).sort_values(key=abs, ascending=False)
    yield Claim(
        "The same: each promise, said less broken",
        "within 0.03",
        ", ".join(f"{name} {value:+.3f}" for name, value in off.items()),
        bool(off.abs().max() <= 0.03),
    )
    came = dates["came_at"] <= dates["expected_at"]
    yield Claim(
        f"The day an open refund is expected on ({len(dates):,} open returns of these shops): refunded by then",
        "45 to 55%",
        f"{came.mean():.1%}",
        bool(0.45 <= came.mean() <= 0.55),
    )


def claims() -> Iterator[Claim]:
    """Claim that waits hold or say that they do not, that noise is no risk, and risks where much moves at once."""
    yield from _stages()
    used = np.mean([noise(FIRST_WORLD + 2000 + i) for i in range(NOISE_FITS)])
    yield Claim(
        f"Risk learnt from features that say nothing ({NOISE_FITS} fits of 3,000 snapshots): used",
        "in at most 5%",
        f"{used:.1%}",
        bool(used <= 0.05),
    )
    yield from _risks()
