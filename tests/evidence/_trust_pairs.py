"""Two writers at once.

Each ends well or is told that the other one writes, and what is there is what one order of both leaves.
"""

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing as at_the_end
from functools import partial
from itertools import combinations_with_replacement
from pathlib import Path

from pipelines.doctor import examine
from pipelines.load import load
from pipelines.outputs import closing
from pipelines.people import actions, policies, policy_text
from pipelines.settings import Settings
from pipelines.warehouse import state
from pipelines.warehouse.build import current_build
from tests.conftest import write_shop
from tests.evidence import Claim
from tests.evidence._trust_outputs import apart, copied, everything
from tests.evidence._trust_verbs import (
    DRAFT,
    Contents,
    Shop,
    by_two,
    contents,
    ended,
    exit_code,
    same,
    shop_of,
    started,
    tiny,
    wrong_end,
)

LOCKED, IS_TOLD = 3, "told that another one writes"
WRITERS = {
    "load": ("load", "{new}"),
    "load of another file": ("load", "{other}"),
    "withdraw": ("withdraw", "{last}"),
    "withdrawn --restore": ("withdrawn", "--restore", "{taking}"),
    "rotate-key": ("rotate-key",),
    "retain": ("retain", "--raw-days", "30"),
    "policy publish": ("policy", "publish", "{policy}"),
    DRAFT: (DRAFT, "policy_id: half"),
    "close": ("close", "2025-12", "--approver", "A"),
    "alert check": ("alert", "check"),
    "alert add": ("alert", "add", "promise_kept", "--below", ".9"),
    "alert withdraw": ("alert", "withdraw", "1"),
    "action add": ("action", "add", "carrier_call", "--owner", "N"),
    "action update": ("action", "update", "1", "--owner", "M"),
    "factors import": ("factors", "import", "{factors}", "--set", "own"),
    "factors use": ("factors", "use", "ademe"),
    "company": ("company", "--country", "FR", "--employees", "1200", "--turnover", "510"),
    "simulate kept": ("simulate", "--fee", "2", "--name", "dearer"),
    "backup": ("backup", "{folder}/copy"),
    "forget": ("forget", "anne@example.org"),
}
OWN_FACTORS = (
    "factor_id,activity,vehicle,unit,wtw,valid_from_year,source,licence\n"
    "own.artic,freight,truck_artic,kgCO2e/t.km,0.2,2020,Carrier,own\n"
)
DAILY = """name: daily
time_zone: Etc/UTC
export: whole
constants: {currency: EUR, country: FR}
tables:
  - file: "orders*.csv"
    to: {order_line: {order_line_id: Order, order_id: Order, ordered_at: Date, product_id: SKU, units: Qty,
      net_amount: Net}}
"""


def claims() -> Iterator[Claim]:
    """Start each pair of writers at the same moment; then run the one that was told to wait."""
    with shop_of() as made:
        yield pairs(base(made), WRITERS)


def pairs(shop: Shop, writers: Sequence[str] | Mapping[str, object]) -> Claim:
    """Try all pairs of so many writers, each with itself too."""
    names = list(writers)
    after = dict(zip(names, _each(shop, names), strict=True))
    every = list(combinations_with_replacement(names, 2))
    found = by_two(partial(_pair, shop, after), every)
    locked = sum(lines.count(IS_TOLD) for lines in found)
    wrong = [
        f"{' + '.join(pair)}: {line}"
        for pair, lines in zip(every, found, strict=True)
        for line in lines
        if line != IS_TOLD
    ]
    print(*wrong, sep="\n", file=sys.stderr)
    return Claim(
        f"Two writers at once, all {len(every)} pairs of {len(names)}: each ends well or is told so, and the result is"
        " that of one order; a copy made meanwhile is whole and of before or after",
        "0 faults",
        f"{locked} told that another one writes, {len(wrong)} faults",
        not wrong,
    )


def base(made: Shop) -> Shop:
    """Make the warehouse that pairs write to: something for each of the writers to change."""
    settings = Settings(warehouse=made.root / "base" / "warehouse")
    settings.warehouse.parent.mkdir()
    load(settings, [write_shop(made.root / "files")])
    with at_the_end(sqlite3.connect(settings.warehouse / "state.sqlite")) as connection:  # long ago: `retain` takes it
        connection.execute("UPDATE load SET started_at = '2020-01-01 00:00:00.000000'")
        connection.commit()
    (made.root / "daily.yaml").write_text(DAILY)
    for number, rows in enumerate(("A,2026-01-01,S,1,100\nB,2026-01-02,S,1,100\n", "A,2026-01-01,S,1,90\n")):
        file = made.root / f"orders{number}.csv"
        file.write_text("Order,Date,SKU,Qty,Net\n" + rows)
        os.utime(file, (1.76e9, 1.76e9))
        load(settings, [file], source=str(made.root / "daily.yaml"))
    taking = max(row["load"] for row in state.listed_loads(settings))
    last = load(settings, [tiny(made.root / "first", 50, 2)])
    new, other = tiny(made.root / "new", 100, 3), tiny(made.root / "other", 200, 3)
    with current_build(settings.warehouse) as build:
        policy = policies.renewed(policies.published(build, "P"), build)
        last_load = max(str(build.info["loads"]).split())
    actions.log_action(settings, "carrier_call", {}, owner="N")
    assert last.is_new_build
    (made.root / "policy.yaml").write_text(policy_text.text(policy))
    (made.root / "factors.csv").write_text(OWN_FACTORS)
    given = {name: str(made.root / f"{name}.{end}") for name, end in (("policy", "yaml"), ("factors", "csv"))}
    return Shop(made.root, {**given, "new": str(new), "other": str(other), "last": last_load, "taking": taking})


def _each(shop: Shop, names: Sequence[str]) -> list[Path]:
    """Run every writer once, alone: the folder that it leaves is where every order that begins with it goes on."""

    def run(name: str) -> list[str]:
        folder = shop.copy("after")
        code, told = ended(shop.words(WRITERS[name], folder))
        if code:
            raise RuntimeError(f"{name}: {told}")
        return [str(folder)]

    return [Path(lines[0]) for lines in by_two(run, names)]


def _pair(shop: Shop, after: Mapping[str, Path], pair: tuple[str, str]) -> list[str]:
    """Run a pair at once, then what was refused as locked; say who was, and what is wrong."""
    one, other = pair
    folder = shop.copy("pair")
    said = [folder.with_name(f"{folder.name}.{n}") for n in (1, 2)]
    words = [shop.words(WRITERS[name], folder) for name in (one, other)]
    processes = [started(w, s) for w, s in zip(words, said, strict=True)]
    for process in processes:
        process.join()
    codes = [exit_code(p, s) for p, s in zip(processes, said, strict=True)]
    told = [s.read_text() for s in said]
    wrong = [problem for code, text in zip(codes, told, strict=True) if (problem := wrong_end(code, text))]
    for number in (0, 1):
        if codes[number] == LOCKED:
            ended(words[number])
    if any(c.is_intact is False for c in closing.closed(Settings(warehouse=folder / "warehouse"))):
        wrong.append("a closed month is not what was signed for")
    seen = _without_copy(everything(folder))
    orders = []
    for first, second in ((one, other), (other, one)):
        orders.append(_in_order(shop, after[first], second))
        if same(seen, orders[-1]):
            break
    else:
        wrong.append(f"the result is that of neither order: {' | '.join(apart(seen, order) for order in orders)}")
    if "backup" in pair:
        wrong += _copy_of(folder, shop, after[one if other == "backup" else other], max(codes))
    for path in said:
        path.unlink()
    shutil.rmtree(folder)
    return [*wrong, *[IS_TOLD] * codes.count(LOCKED)]


def _copy_of(folder: Path, shop: Shop, after: Path, code: int) -> list[str]:
    """Say what is wrong with a copy that was made beside a writer: it is whole, and of before or after.

    A load or a forgetting that was under way is in it as it stood then, and goes on there as `doctor` says.
    """
    copy = folder / "copy"
    if not copy.exists():
        return [] if code else ["there is no copy, and nobody was told so"]
    seen, known = copied(copy), [_as_copy(shop.root / "base"), _as_copy(after)]
    wrong = [] if any(same(seen, k) for k in known) else [f"the copy: {' | '.join(apart(seen, k) for k in known)}"]
    restored = Settings(warehouse=folder / "restored" / "warehouse")
    place = ["--warehouse", str(restored.warehouse)]
    (folder / "restored").mkdir()
    code, told = ended(["restore", str(copy), *place])
    wrong += [f"restore of the copy: exit {code} {told}"] if code else []
    faults = [one for one in examine(restored, is_deep=True) if one.is_fault]
    under_way = ("not published", "not forgotten everywhere yet")
    wrong += [f"{one.where} of the copy {one.problem}" for one in faults if not one.problem.endswith(under_way)]
    forgetting = [[*WRITERS["forget"], *place]] if any(one.where == "forgetting" for one in faults) else []
    if faults:
        for words in (["load", *place], *forgetting, ["check", "--deep", *place]):
            code, told = ended(words)
            wrong += [f"{words[0]} of the copy: exit {code} {told}"] if code else []
    return wrong


def _as_copy(folder: Path) -> Contents:
    return {"the copy": ("whole", ())} | {f"the copy: {name}": of for name, of in contents(folder).items()}


def _without_copy(found: Contents) -> Contents:
    return {name: of for name, of in found.items() if not name.startswith("the copy")}


def _in_order(shop: Shop, after_first: Path, second: str) -> Contents:
    folder = shop.copy("in order")
    shutil.rmtree(folder)
    shutil.copytree(after_first, folder)
    ended(shop.words(WRITERS[second], folder))
    found = _without_copy(everything(folder))
    shutil.rmtree(folder)
    return found
