"""Sentences from numbers: what a page's title, a section's title and a change say. No query, no Streamlit.

A sentence carries at most two numbers, with the interval of the first; a number that is not known says what it needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from dashboard.i18n import Words, inert
from dashboard.shared.plan import Judged
from dashboard.shared.queries import Change, Number, metric
from pipelines.metrics import losses

Colour = Literal["green", "red", "gray"]
Arrow = Literal["up", "down", "off"]
LOST = losses.UNKNOWN
FEWEST = 30  # cases of a number that is said in a title, coloured or ranked, at least
MOST_TIMES = 10  # a change of more times the earlier value is said as an amount: its percentage says nothing
STOCKS = frozenset(
    {"value_in_flow", "units_waiting", "margin_waiting", "pending_inspection_units", "claims_open_amount"}
)
"""What lies somewhere today; what lay there on an earlier day is not known, so it stands without a comparison."""


@dataclass(frozen=True)
class Finding:
    """A sentence, the address that says more, and how much it matters today (0: nothing moved).

    `link` narrows what is shown there: names and codes of the address.
    """

    page: str
    sentence: str
    weight: float
    link: tuple[tuple[str, str], ...] = ()


def name(words: Words, key: str) -> str:
    """Give a metric's name."""
    return words.either(*metric(key).name)


def reason(words: Words, found: Number) -> str:
    """Say why a number is not known, in the reader's words."""
    return inert(words.translated(found.reason)) or words("greyed.none")


def told(words: Words, key: str, rests: Any, **parts: str) -> str:
    """Make a sentence of its key and parts, and add the cautions of what its numbers rest on.

    `rests` is what `doubt_of` takes, or several of them; `()` says that nothing is lost to these numbers.
    """
    every = rests if isinstance(rests, (tuple, list)) else (rests,)
    return cautious(words, words(key, **parts), *map(doubt_of, every))


def cautious(words: Words, sentence: str, *said: str) -> str:
    """Add to a sentence what its numbers do not rest on, each caution once."""
    new = [why for why in dict.fromkeys(words.translated(w) for w in said if w) if why not in sentence]
    return words("finding.caution", sentence=sentence, why=words.semicolon.join(new)) if new else sentence


def doubt_of(found: Any) -> str:
    """Give the caution of what is shown, or nothing.

    Of a number, a change, an offer or a plan, of a row of answers, or of a frame of them: there of the row that rests
    on the least. A row or frame without the columns caution and reason is an error: nobody asked what it rests on.
    """
    if isinstance(found, Change):
        return found.caution
    if isinstance(found, pd.DataFrame):
        weak = found[found["caution"].fillna("") != ""]
        weak = weak.sort_values("coverage", kind="stable") if "coverage" in weak else weak
        return doubt_of(weak.iloc[0]) if len(weak) else ""
    if isinstance(found, (pd.Series, Mapping)):
        caution, reason, status = found["caution"], found["reason"], found.get("status", "ok")
    else:
        caution, reason, status = found.caution, found.reason, getattr(found, "status", "ok")
    return str(reason) if caution and caution == caution and status != "greyed" else ""


def enough(found: Any) -> bool:
    """Say whether a number or a row of them may be said in a title, coloured or ranked.

    An estimate needs FEWEST cases and an interval; a sum of all that happened has neither, and no cases are counted.
    """
    n, low = (
        found.get(k) if isinstance(found, (pd.Series, Mapping)) else getattr(found, k, None) for k in ("n", "low")
    )
    return bool(pd.isna(n) or (n >= FEWEST and pd.notna(low)))


def of_enough(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the rows that may be said in a title, coloured or ranked; none of a frame without rows."""
    return frame.iloc[[i for i, row in enumerate(frame.to_dict("records")) if enough(row)]]


def few(words: Words, found: Any) -> str:
    """Say that a title rests on too few cases."""
    n = found["n"] if isinstance(found, (pd.Series, Mapping)) else found.n
    return told(words, "finding.few", (), n=words.number(n), fewest=words.number(FEWEST))


def is_nothing(text: str) -> bool:
    """Say whether a change is zero as it is written.

    >>> is_nothing("+0.0 pts"), is_nothing("−0.1 pts")
    (True, False)
    """
    return not any(sign in "123456789" for sign in text)


def change(words: Words, found: Change | None, good: str, n: float) -> tuple[str, Colour, Arrow]:
    """Write a change with its colour and arrow: green or red by which way is good, where it is beyond noise.

    Grey is what is within noise, has no interval or too few cases (`n`), and what is zero as it is written.
    """
    if found is None:
        return words("tile.alone"), "gray", "off"
    text = difference(words, found)
    if is_nothing(text):
        return text.lstrip("+−"), "gray", "off"
    if found.is_within_noise:
        return f"{text} · {words('tile.noise')}", "gray", "off"
    if found.is_within_noise is None or n < FEWEST:
        return text, "gray", "off"
    up = found.difference > 0
    colour: Colour = "gray" if good not in ("up", "down") else "green" if (good == "up") == up else "red"
    return text, colour, "up" if up else "down"


def apart(words: Words, gap: float, unit: str) -> str:
    """Write how far two numbers are apart, without a sign: points for shares."""
    return words.points(abs(gap)) if unit == "share" else words.quantity(abs(gap), unit)


def against_target(words: Words, found: Judged) -> tuple[str, str, Colour]:
    """Say what the target of a number is, whether it is missed, and in which colour.

    It is grey but beyond noise and with enough cases. Where the target began within the days of the view, the number
    since is said with it.
    """
    gap = apart(words, found.difference, found.unit) if found.difference == found.difference else ""
    side = words("target.above" if found.difference > 0 else "target.below")
    said = words(f"target.{found.verdict}", gap=gap, side=side)
    of = words("target.of", target=words.quantity(found.target.value, found.unit))
    if found.since is not None:
        value = words.quantity(found.value, found.unit)
        of = words("target.of_since", target=of, day=words.day(found.since), value=value)
    colours: dict[str, Colour] = {"met": "green", "missed": "red"}
    return of, said, colours.get(found.verdict, "gray")


def difference(words: Words, found: Change) -> str:
    """Write a signed difference: points for shares, percent of the previous value for the rest."""
    if found.unit == "share":
        return words.signed(words.points(found.difference), found.difference)
    if found.previous and abs(found.difference / found.previous) < MOST_TIMES:
        return words.signed(words.percent(found.difference / abs(found.previous)), found.difference)
    return words.signed(words.quantity(found.difference, found.unit), found.difference)


def with_change(words: Words, sentence: str, found: Change | None) -> str:
    """Add the change to a sentence, in words; one without an interval is no part of a title."""
    if found is None or found.is_within_noise is None:
        return sentence
    amount = difference(words, found).lstrip("+−")
    if found.is_within_noise or is_nothing(amount):
        return told(words, "finding.and_change", found, sentence=sentence, change=words("finding.same"))
    more = told(words, "finding.more" if found.difference > 0 else "finding.less", (), change=amount)
    return told(words, "finding.and_change", found, sentence=sentence, change=more)


def weight(found: Change | None) -> float:
    """How far a change stands out of its noise; nothing when it does not."""
    if found is None or found.is_within_noise is not False:
        return 0.0
    half = (found.high - found.low) / 2
    return abs(found.difference) / half if half > 0 else 0.0


def number(words: Words, key: str, unknown: str, found: Number, **parts: str) -> str:
    """Say one number, or that it is not known, or of too few cases."""
    if found.status != "ok":
        return words(unknown)
    return told(words, key, found, **parts) if enough(found) else few(words, found)


def rate(words: Words, final: Number, *others: tuple[str, Number]) -> str:
    """Say what share of the sold units will come back.

    Where no projection holds, the first of the others that is known. `others` are sentences of `finding.<name>` with
    their numbers, the best known first.
    """
    if final.status == "ok" and not enough(final):
        return few(words, final)
    if final.status == "ok":
        rate_, low, high = (words.percent(x) for x in (final.value, final.low, final.high))
        return told(words, "finding.rate", final, rate=rate_, low=low, high=high)
    for name, found in others:
        if found.status == "ok":
            said = told(words, f"finding.{name}", found, rate=words.percent(found.value))
            return said if enough(found) else few(words, found)
    return words("finding.rate_unknown")


def kept(words: Words, found: Number) -> str:
    """Say what share of the promises was kept."""
    return number(words, "finding.kept", "finding.kept_unknown", found, rate=words.percent(found.value))


def margin(words: Words, share: Number, cost: Number) -> str:
    """Say what returns took of the margin, or what they cost."""
    if share.status == "ok":
        return told(words, "finding.margin", share, share=words.percent(share.value))
    return number(
        words, "finding.margin_amount", "finding.margin_unknown", cost, amount=words.quantity(cost.value, cost.unit)
    )


def carbon(words: Words, total: Number) -> str:
    """Say what returns emitted."""
    return number(words, "finding.carbon", "finding.carbon_unknown", total, kg=mass(words, total.value))


def mass(words: Words, kg: Any) -> str:
    """Write a mass in tonnes from one tonne on."""
    if kg == kg and kg is not None and abs(kg) >= 1000:
        return f"{words.number(kg / 1000, 1)}\u00a0t"
    return f"{words.number(kg)}\u00a0kg"


def top(words: Words, key: str, frame: pd.DataFrame, kind: str, part: str, **formats: Any) -> str:
    """Name the first group of a ranked frame with its number, or the only one; nothing when none has enough cases."""
    ranked = ranked_of(frame)
    if ranked.empty:
        return ""
    first = ranked.iloc[0]
    ((name, write),) = formats.items()
    group, number = words.value(kind, first["label"]), write(first["value"])
    if len(ranked) == 1:
        return told(words, "finding.only", first, dimension=words.dimension(kind), group=group, number=number)
    return told(words, key, first, **{part: group, name: number})


def ranked_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the rows that may be ranked, the greatest value first."""
    return of_enough(frame.dropna(subset=["value"])).sort_values("value", ascending=False)


def standing_out(ranking: pd.DataFrame) -> pd.DataFrame:
    """Give the products that are flagged and of which enough were sold."""
    return ranking[ranking["is_flagged"].astype(bool) & (ranking["sold"] >= FEWEST)] if len(ranking) else ranking


def caution(words: Words, found: Number) -> str:
    """Say what weakens a number; nothing when nothing is known against it."""
    said = words.translated(found.reason) if found.caution else ""
    return said[:1].upper() + said[1:]


def covered(words: Words, found: Number) -> str:
    """Write the share of its rows that a number rests on; never as all of them."""
    if found.coverage >= 0.9995:
        return words("tile.nearly_all", share=words.percent(0.999))
    return words.percent(found.coverage)


def lost(words: Words, numbers: Sequence[Number]) -> str:
    """Say once what numbers shown together do not rest on, where that is enough for a caution."""
    said = [n.reason for n in numbers if "coverage" in n.caution or (n.status != "ok" and 0 < n.coverage < 1 - LOST)]
    return inert(" · ".join(dict.fromkeys(map(words.translated, said))))


def waiting(words: Words, goods: pd.DataFrame, currency: str) -> str:
    """Say how much waits on its way back, and where most of it."""
    if goods.empty:
        return words("promises.tab_waiting")
    if goods["margin"].isna().all():
        return told(words, "finding.waiting_units", goods, n=words.number(goods["units"].sum()))
    amount = words.money(goods["margin"].sum(), currency)
    return told(words, "finding.waiting", goods, n=words.number(goods["units"].sum()), amount=amount)


def likely_late(risk: pd.DataFrame) -> pd.DataFrame:
    """Keep the returns that break a promise more likely than not."""
    return risk[risk[["probability", "next_probability"]].max(axis=1) >= 0.5] if len(risk) else risk


def lane(words: Words, lanes: pd.DataFrame) -> str:
    """Name the heaviest lane."""
    if lanes.empty:
        return words("emissions.tab_map")
    first = lanes.sort_values("kg_co2e", ascending=False).iloc[0]
    return told(
        words,
        "finding.lane",
        first,
        origin=str(first["from_name"]),
        destination=str(first["to_name"]),
        kg=mass(words, first["kg_co2e"]),
    )


RATES = {
    "observed_return_rate": "rate_so_far",
    "period_return_rate": "rate_period",
    "flagged_line_rate": "rate_flagged",
    "flagged_order_rate": "rate_flagged_orders",
}
"""What stands for the final rate where that is not known, the best first, and the sentence that says it."""


def headline(
    words: Words, final: Number, moved_rate: Change | None, others: Sequence[tuple[str, tuple[Number, Change | None]]]
) -> Finding:
    """Say what comes back, by the best rate that is known, with the change of that rate."""
    known = [(name, found, change_of) for name, (found, change_of) in others if found.status == "ok"]
    change_of = moved_rate if final.status == "ok" or not known or known[0][0] == "rate_so_far" else known[0][2]
    sentence = rate(words, final, *((name, found) for name, found, _ in known))
    return Finding("returns", with_change(words, sentence, change_of), weight(change_of))
