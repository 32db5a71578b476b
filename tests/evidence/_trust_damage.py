"""Kinds of damage: every verb that reads ends in an answer or one sentence.

The next load heals, or says in one what to do.
"""

import shutil
import sys
from collections.abc import Iterator
from functools import partial

from pipelines.load import load
from pipelines.settings import Settings
from tests.conftest import write_shop
from tests.damages import HEALED, REFUSED, Damage
from tests.evidence import Claim
from tests.evidence._trust_verbs import Contents, Shop, by_two, contents, ended, same, shop_of, tiny, wrong_end

IS_HEALED = "healed"

READERS = (
    ("status",),
    ("metric", "observed_return_rate", "--by", "category"),
    ("check", "--deep"),
    ("doctor",),
    ("closed",),
    ("alert", "check", "--dry-run"),
    ("policy", "list"),
    ("withdrawn",),
    ("reasons",),
)


def claims() -> Iterator[Claim]:
    """Damage a small warehouse in each way, read, load a good new file, and compare."""
    with shop_of() as made:
        settings = Settings(warehouse=made.root / "base" / "warehouse")
        settings.warehouse.parent.mkdir()
        load(settings, [write_shop(made.root / "files")])
        tiny(made.root / "new", 100, 3)
        unharmed = made.copy("unharmed")
        base = contents(unharmed)
        ended(["load", str(made.root / "new"), "--warehouse", str(unharmed / "warehouse")])
        kinds = {**HEALED, **{name: damage for name, (damage, _) in REFUSED.items()}}
        found = by_two(partial(_damaged, made, base, contents(unharmed)), kinds.items())
    healed = sum(lines[0] == IS_HEALED for lines in found)
    wrong = [f"{name}: {line}" for name, lines in zip(kinds, found, strict=True) for line in lines[1:]]
    print(
        *(f"{name} | {lines[0]}" for name, lines in zip(kinds, found, strict=True)), *wrong, sep="\n", file=sys.stderr
    )
    name = (
        f"Damaged in {len(kinds)} ways, {len(READERS)} verbs that read after each: an answer or one sentence, and a"
        " load heals or says what to do"
    )
    yield Claim(
        name,
        "40 kinds, 0 faults",
        f"{healed} healed, {len(kinds) - healed} told, {len(wrong)} faults",
        len(kinds) >= 40 and not wrong,
    )


def _damaged(made: Shop, base: Contents, expected: Contents, kind: tuple[str, Damage]) -> list[str]:
    """Do one kind of damage: what the next load said of it, and what is wrong."""
    name, damage = kind
    folder = made.copy("damaged")
    place = ["--warehouse", str(folder / "warehouse")]
    damage(Settings(warehouse=folder / "warehouse"))
    wrong = []
    for words in READERS:
        if problem := wrong_end(*ended([*words, *place])):
            wrong.append(f"{' '.join(words)}: {problem}")
    code, told = ended(["load", str(made.root / "new"), *place])
    seen = contents(folder)
    if problem := wrong_end(code, told):
        wrong.append(f"load: {problem}")
    elif code and name not in REFUSED:
        wrong.append(f"did not heal: {told}")
    if not code and not same(seen, expected):
        wrong.append("healed, and tables differ")
    if code and seen and not same(seen, base):
        wrong.append("not healed, and what was published has changed")
    shutil.rmtree(folder)
    return [told.strip().removeprefix("backhaul: ") if code else IS_HEALED, *wrong]
