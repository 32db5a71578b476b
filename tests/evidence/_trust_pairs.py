"""Two writers at once.

Each ends well or is told that the other one writes, and what is there is what one order of both leaves.
"""

import shutil
import sys
from collections.abc import Iterator
from functools import partial
from itertools import combinations_with_replacement

from pipelines.load import load
from pipelines.outputs import closing
from pipelines.people import policies, policy_text
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from tests.conftest import write_shop
from tests.evidence import Claim
from tests.evidence._trust_verbs import Contents, Shop, by_two, contents, ended, same, shop_of, started, tiny, wrong_end

LOCKED, IS_TOLD = 3, "told that another one writes"
WRITERS = {
    "load": ("load", "{new}"),
    "load of another file": ("load", "{other}"),
    "withdraw": ("withdraw", "{last}"),
    "policy publish": ("policy", "publish", "{policy}"),
    "close": ("close", "2025-12", "--approver", "A"),
    "alert check": ("alert", "check"),
    "alert add": ("alert", "add", "promise_kept", "--below", ".9"),
    "action add": ("action", "add", "carrier_call", "--owner", "N"),
    "factors use": ("factors", "use", "ademe"),
    "company": ("company", "--country", "FR", "--employees", "1200", "--turnover", "510"),
    "backup": ("backup", "{folder}/copy"),
    "forget": ("forget", "anne@example.org"),
}


def claims() -> Iterator[Claim]:
    """Start each pair of writers at the same moment; then run the one that was told to wait."""
    with shop_of() as made:
        shop = _base(made)
        pairs = list(combinations_with_replacement(WRITERS, 2))
        found = by_two(partial(_pair, shop), pairs)
        locked = sum(lines.count(IS_TOLD) for lines in found)
        wrong = [
            f"{' + '.join(pair)}: {line}"
            for pair, lines in zip(pairs, found, strict=True)
            for line in lines
            if line != IS_TOLD
        ]
    print(*wrong, sep="\n", file=sys.stderr)
    yield Claim(
        f"All {len(pairs)} pairs of {len(WRITERS)} writers at once: each ends well or is told so, and the result is"
        " that of one order",
        "0 faults",
        f"{locked} told that another one writes, {len(wrong)} faults",
        not wrong,
    )


def _base(made: Shop) -> Shop:
    settings = Settings(warehouse=made.root / "base" / "warehouse")
    settings.warehouse.parent.mkdir()
    load(settings, [write_shop(made.root / "files")])
    last = load(settings, [tiny(made.root / "first", 50, 2)])
    new, other = tiny(made.root / "new", 100, 3), tiny(made.root / "other", 200, 3)
    with current_build(settings.warehouse) as build:
        policy = policies.renewed(policies.published(build, "P"), build)
        last_load = max(str(build.info["loads"]).split())
    assert last.is_new_build
    (made.root / "policy.yaml").write_text(policy_text.text(policy))
    names = {"new": str(new), "other": str(other), "policy": str(made.root / "policy.yaml"), "last": last_load}
    return Shop(made.root, names)


def _pair(shop: Shop, pair: tuple[str, str]) -> list[str]:
    """Run a pair at once, then what was refused as locked; say who was, and what is wrong."""
    one, other = pair
    folder = shop.copy("pair")
    said = [folder.with_name(f"{folder.name}.{n}") for n in (1, 2)]
    words = [shop.words(WRITERS[name], folder) for name in (one, other)]
    processes = [started(w, s) for w, s in zip(words, said, strict=True)]
    for process in processes:
        process.join()
    codes = [int(p.exitcode or 0) for p in processes]
    told = [s.read_text() for s in said]
    wrong = [problem for code, text in zip(codes, told, strict=True) if (problem := wrong_end(code, text))]
    for number in (0, 1):
        if codes[number] == LOCKED:
            ended(words[number])
    if not any(c.is_intact is False for c in closing.closed(Settings(warehouse=folder / "warehouse"))):
        seen = contents(folder, is_state=True)
        if not (same(seen, _in_order(shop, one, other)) or same(seen, _in_order(shop, other, one))):
            wrong.append("the result is that of neither order")
    else:
        wrong.append("a closed month is not what was signed for")
    shutil.rmtree(folder)
    return [*wrong, *[IS_TOLD] * codes.count(LOCKED)]


def _in_order(shop: Shop, first: str, second: str) -> Contents:
    folder = shop.copy("in order")
    for name in (first, second):
        ended(shop.words(WRITERS[name], folder))
    found = contents(folder, is_state=True)
    shutil.rmtree(folder)
    return found
