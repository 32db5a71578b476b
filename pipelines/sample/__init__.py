"""A believable shop from a seed, told through the files its systems would send, with its truth known.

`write_sample` writes raw files in the canonical format; `data/sample/parameters.yaml` holds every number it draws from
and `data/sample/stories.yaml` what it hides. Nothing here reads or builds a warehouse. The one idea: outcomes are drawn
once and in full, past the as-of day, and a curtain hides what has not happened yet.
"""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipelines.sample.chain import chain
from pipelines.sample.draws import Columns, Rng, parameters, seconds, with_whole
from pipelines.sample.draws import stories as read_stories
from pipelines.sample.logs import write_logs
from pipelines.sample.network import build_network
from pipelines.sample.returns import METHODS, exchanges, lots, outcomes, probabilities, reasons, return_lines, timeline
from pipelines.sample.shop import World, catalogue, sell, told_style
from pipelines.sample.simulation import Simulation
from pipelines.sample.truth import write_truth
from pipelines.warehouse.vocabulary import DISPOSITIONS

__all__ = ["write_sample"]


def write_sample(
    out: Path,
    orders: int = 200_000,
    seed: int = 7,
    *,
    until: dt.date = dt.date(2026, 1, 31),
    stories: bool = True,
    dirt: bool = True,
    truth: Path | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, int]:
    """Write the raw files of a shop with `orders` order lines and return the rows written per file.

    The shop sells for two years up to the evening of `until`; nothing later is written. `stories` plants what
    `data/sample/stories.yaml` tells, `dirt` what real files get wrong. `truth` is a folder for what the shop knows and
    its files do not: final outcomes, rates, stage times, counts of dirt. Same arguments, same bytes. `progress` hears
    the name of each step and the share done (0-1).
    """
    with np.errstate(invalid="ignore"):  # infinity stands for never, and never less never is never
        return _write_sample(
            Path(out), orders, seed, until, stories, dirt, truth, progress or (lambda _step, _share: None)
        )


def _write_sample(
    out: Path,
    orders: int,
    seed: int,
    until: dt.date,
    stories: bool,
    dirt: bool,
    truth: Path | None,
    tell: Callable[[str, float], None],
) -> dict[str, int]:
    found = parameters()
    if not dirt:
        found["dirt"] = dict.fromkeys(found["dirt"], 0.0)
    last = dt.date(until.year, until.month, until.day)
    begin = last + dt.timedelta(days=1)
    months = begin.year * 12 + begin.month - 1 - int(found["start_months"])
    start = dt.date(months // 12, months % 12 + 1, min(begin.day, 28))
    world = World(found, read_stories() if stories else {}, seconds(start), seconds(begin) - 2 * 3600, orders)
    rng = [np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(12)]

    tell("selling", 0.0)
    styles = catalogue(rng[0], world)
    network = build_network(world, METHODS)
    lines, who = sell(rng[1], world, styles, network.store_of >= 0)
    chance, extra = probabilities(world, styles, lines, who)
    result = outcomes(rng[2], world, lines, chance, extra, told_style(world, styles, "robe_alba"))
    lines, result = exchanges(rng[3], world, lines, result, orders - len(lines["order"]))
    lines, result = with_whole(lines, np.int32), with_whole(result, np.int32)
    tell("taking back", 0.1)
    rows = return_lines(rng[4], world, lines, result)
    back = timeline(rng[5], world, network, lines, rows)
    reasons(rng[6], world, styles, lines, rows)
    lot = lots(rng[7], world, lines, rows, back, DISPOSITIONS)
    tell("moving", 0.25)
    load = _loads(rng[8], world, styles, lines, rows, back, lot)
    elements = chain(rng[9], world, network, lines, back, load, METHODS)
    tell("writing", 0.35)
    simulation = Simulation(world, styles, who, lines, result, network, rows, back, lot, elements)
    written, planted = write_logs(out, rng[10], simulation, lambda step, share: tell(step, 0.35 + 0.6 * share))
    if truth is not None:
        tell("truth", 0.95)
        write_truth(Path(truth), simulation, planted)
    tell("done", 1.0)
    return written


def _loads(
    rng: Rng, world: World, styles: Columns, lines: Columns, rows: Columns, back: Columns, lot: Columns
) -> Columns:
    """Sum up what each return carries.

    Mass of its goods (kg), and by its first lot what is done, where it goes on to and when.
    """
    count = len(back["line"])
    mass = np.bincount(rows["of"], styles["mass"][lines["style"][rows["line"]]] * rows["units"], count)
    first = np.zeros(count, dtype=np.int64)
    first[rows["of"][lot["row"]][::-1]] = np.arange(len(lot["row"]))[::-1]
    to_store = rng.random(count) < world.parameters["onward_places"]["as_new_store_share"]
    onward = {
        "b_stock": 1,
        "marked_down": 1,
        "repaired": 2,
        "refurbished": 2,
        "donated": 2,
        "recycled": 3,
        "destroyed": 3,
    }
    treatment = {"repaired": 1, "refurbished": 1, "donated": 1, "recycled": 2, "destroyed": 3}
    done = lot["disposition"][first]
    goes = np.array([onward.get(name, 0) for name in DISPOSITIONS])[done]
    goes = np.where((done == DISPOSITIONS.index("as_new")) & to_store, 1, goes)
    treated = np.array([treatment.get(name, 0) for name in DISPOSITIONS])[done]
    return {"mass": mass, "onward": goes, "treatment": treated, "finished": lot["finished"][first]}
