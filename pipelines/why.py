"""Why a number is not known, is weak, or what it leaves out: a code with its parts, and the sentence made of them.

Every sentence stands here once. Frames, files and logs carry the sentence; `read` takes it apart again, so that the
dashboard can say it in another language. No decision rests on a sentence, and none is written elsewhere.
"""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

SENTENCES: Mapping[str, str] = {
    # what a load is doing
    "step_landing": "landing files",
    "step_judging": "judging {thing}",
    "step_logs": "reading the logs",
    "step_shaping": "shaping facts",
    "step_estimating": "estimating cost, carbon, promises and probabilities",
    "step_checking": "checking",
    "step_publishing": "publishing",
    "step_damaged": "looking for the load that cannot be built",
    "step_alerts": "looking for alerts",
    "step_telling": "telling of alerts",
    "step_sending": "sending subscriptions",
    # what the sources do not hold
    "needs": "needs {facts}",
    "load_source": "load a source that has it",
    "not_within": "not available to a reader of some brands: {facts} are of more than one brand",
    "whole_shop": "kept for the whole shop: not shown within {scope}",
    "signed_out": "signed out: sign in again to go on",
    "work_long_owner": "An owner has {n} characters at most, no line breaks and no invisible signs.",
    "work_long_note": "A note has {n} characters at most, no line breaks and no invisible signs.",
    "work_state": "{state} is no state of a row; one of {states}.",
    "work_nothing": "Nothing to change: give a state, an owner, a due date or a note.",
    "work_unknown": "The work list has no row {item}; `backhaul work list {name}` shows its rows.",
    "fix_no_row": "No row at {place} is in quarantine; `backhaul quarantine list` shows those that are.",
    "fix_several_rows": "{place} gave several rows: say which with --table and --id. They are: {rows}.",
    "fix_nothing": "Nothing to fix: give the columns and what counts in them.",
    "fix_no_column": "The row has no column {column} to fix. Columns: {columns}.",
    "fix_personal": "{column} is personal data, which no fix may hold: correct it in the system that has it.",
    "fix_long": "{column}: 300 characters at most, no line breaks and no invisible signs.",
    "fix_still_wrong": "With this value the row still breaks the rule: {rule}. Nothing was kept.",
    "fix_no_wording": "Give the table, the column and the words that the source writes, no address.",
    "fix_values": "{column} takes one of: {values}.",
    "fix_no_mapping": "No load of {source} was made by a mapping: fix its rows or its wordings.",
    "fix_no_number": "No fix {number} stands; `backhaul quarantine fixes` lists them.",
    "fix_no_load": "There is no load {load} whose rows could be validated again; `backhaul status` lists the loads.",
    "fix_raw_gone": "The raw files of load {load} are gone or changed, so its rows cannot be read again.",
    "source_silent": "{source}: no files for {silent}; the longest gap between its late loads is {usual}",
    "source_share": "{source}: {share:.1%} of the rows of its newest load are in quarantine, {usual} of earlier ones",
    "source_new": "{source}: {thing} has columns that earlier loads did not have: {columns}",
    "source_missing": "{source}: {thing} lacks columns that earlier loads had: {columns}",
    "source_retyped": "{source}: columns of {thing} hold another kind of value than before: {columns}",
    "event_not_json": "It is no JSON.",
    "event_other": "It tells nothing of returns: another topic, or another form than the source reads.",
    "no_build": "No build {build} is kept. Kept builds: {kept}.",
    "is_current": "Readers see the build {build} already.",
    "diff_rows": "{table}: rows added {added}, gone {gone}, changed {changed}",
    "diff_observed": "observed until {before}, then until {after}",
    "diff_estimates": "the same rows, estimated anew",
    "takes_no_files": "{reader} is in the role {role} now and takes no files: send the page without one",
    "not_reached": "{address} could not be reached: {problem}. It is tried again",
    "page_failed": "the page could not be made: {problem}",
    "page_too_slow": "the page was not made within {n} seconds",
    "not_on_page": "the reader's page knows no {codes}: change the filters",
    "reader_gone": "{reader} is no reader any more: withdraw it, or add them to the file of readers",
    "not_allowed": "not allowed to a reader in the role {role}: {right}",
    "marked": "what is marked as returned is counted in flagged_line_rate and flagged_order_rate",
    "without": "without {source}: no {facts}",
    "mixed": "different things are not mixed: cut or filter by {names}",
    "whole": "a share of the whole: cut it by {names}",
    "known_of_one": "{dimension} is known of one of {name} and {other} alone: the ratio would be wrong",
    "known_of_others": "{dimension} are not known of the same rows: ask for one at a time",
    # nothing to count
    "nothing_sold": "nothing sold in this selection",
    "nothing_returned": "nothing returned in this selection",
    "nothing_back": "nothing came back in this selection",
    "nothing_inspected": "nothing inspected in this selection",
    "nothing_received": "nothing received by carrier in this selection",
    "nothing_handed": "nothing handed over in this selection",
    "nothing_decided": "nothing decided in this selection",
    "nothing_declined": "nothing declined in this selection",
    "nothing_asked": "nothing asked back in this selection",
    "nothing_fit": "nothing fit for sale in this selection",
    "nothing_recovered": "nothing recovered in this selection",
    "nothing_refunded": "nothing refunded in this selection",
    "nothing_waited": "nothing has waited in this selection",
    "nothing_completed": "nothing of this selection has completed yet",
    "nothing_there": "nothing there",
    "no_number": "no number in this period",
    "no_margin": "no gross margin in this selection",
    "no_cost": "no cost in this selection",
    "no_emissions": "no emissions in this selection",
    "ileap_carrier": "no factor of its energy carrier: the operation is named, not described",
    "ileap_distance": "an element without a distance",
    "ileap_factor": "an element without a factor: its emissions are missing, not zero",
    "ileap_still": "no element that moves it",
    "no_parcel": "no parcel in this selection",
    "no_return_line": "no return line in this selection",
    "no_refund": "no refund with lines in this selection",
    "no_sizes": "no size reasons in this selection",
    "no_promise": "no promise of this selection is due yet",
    "no_open": "no open promise in this selection",
    # too little or too early
    "no_curve": "no development curve yet: too few returns to know how they arrive",
    "young": "too young: {share:.0%} of the expected returns have come, {limit:.0%} are needed",
    "not_delivered": "nothing sold in this selection has been delivered yet",
    "not_old": "nothing sold in this selection is {days} days old: the oldest sale is {age:.0f} days old",
    "few_old": "too few of these sales are {days} days old: {share:.1%}, {limit:.0%} are needed",
    "few_customers": "only {customers} customers in this selection, {needed} are needed",
    "few_completed": "only {n} have completed in the last {weeks} weeks; {needed} are needed",
    "no_duration": "no duration would be kept so often: too many are lost or open longer than any was followed",
    "longer": "longer than anything followed so far ({days:.0f} days)",
    "longer_units": "longer than anything followed so far ({n:.0f})",
    "units_differ": "promised in different units: cut by lane or market",
    "no_interval": "no interval to tell a change from noise",
    "no_expected": "no expected rate for these sales",
    "nothing_known": "nothing was known yet when these were ordered",
    "little_known": "too little was known when most of these were ordered",
    "no_category": "no rate of its category to compare with yet",
    "several": "several categories: a product's own rate needs one product or style a row",
    "model_off": "the model that expects returns is not used: it expected {expected:.1%} in {month}, and {observed:.1%}"
    " came",
    "model_off_later": "the model that expects returns is not used: it expected {expected:.1%} of later orders, and"
    " {observed:.1%} came",
    "model_weak": "the model that expects returns is not used: on {n:,} later lines it predicts no better than past"
    " rates do (log loss lower by {gain:.2%}, lower bound {least:.2%})",
    "model_short": "the model that expects returns is not used: too few weeks of later orders to judge it",
    "model_leaks": "the model that expects returns is not used: it separates later lines too well ({figure:.3f} of 1)"
    " for what is known when they are ordered",
    "model_kept": "not in use: it expects later lines no better than the model in use",
    "leak_alone": "{feature} is not used to expect returns: alone it separates returned from kept lines ({figure:.3f}"
    " of 1), so it was written after the return",
    "leak_pure": "{feature} is not used to expect returns: {share} of the lines with one of its values came back, so"
    " it was written after the return",
    "leak_rewritten": "{feature} is not used to expect returns: it changed in a later export for {share} of the"
    " returned lines, and for far fewer of the kept ones",
    "model_uneven": "the model that expects returns is not used: what comes differs too much from month to month",
    "roll_before": "the data begin on {day}: what was open before this month is not known",
    "roll_later": "the data end on {day}: nothing of this month is known yet",
    "roll_refunds": "no source says when returns were refunded: what was used of the liability is not known",
    # what a number does not rest on
    "part": "{share} of {what}",
    "only": "only {share} of {what} can be counted",
    "none": "none of the {what} can be counted",
    "alone": "the value is of these alone",
    "between": "between {low} and {high}",
    "bounds_only": "between {low} and {high}: only {share} of {what} can be counted",
    "bounds_none": "between {low} and {high}: none of the {what} can be counted",
    "bounds_with": "between {low} and {high} with the rest",
    "above": "above 100% ({share:.1%}): the part is more than the whole",
    "rows": "rows: backhaul export {question}",
    "lost_order": "{share} name no order",
    "lost_return": "{share} name no return",
    "lost_dates": "{share} have impossible dates",
    "lost_undated": "{share} have no date to judge by",
    "lost_reversed": "{share} have dates out of order",
    "lost_quarantine": "{share} are in quarantine",
    "lost_fx_rate": "{share} have no exchange rate",
    "lost_cost_amount": "{share} have no purchase cost",
    "lost_vat_amount": "{share} have no VAT",
    "lost_net_amount": "{share} have no price",
    "lost_refund_amount": "{share} have no refund amount",
    "lost_amount": "{share} have no amount",
    "lost_weight_kg": "{share} have no weight",
    "lost_where": "{share} are of an unknown {dimension}",
    "unshipped": "{share} of the lines sold show no shipment, while their source reports others",
    "unsold": "{share} of the lines ordered show no shipment and are not sold: their source reports what it ships",
    "beyond_sold": "{share} of the returned units stand on lines that sold fewer",
    "from_return": "{share:.1%} count from the return date: no request is known",
    "paid_early": "without {n:,} paid before the wait began",
    "without_legs": "without {n:,} of {of:,} {what}: no emission factor",
    "only_legs": "only {n:,} of {of:,} {what} have an emission factor: the value is of these alone",
    "odd_factors": "factors far from those that ship for the same vehicle: {names}",
    "upper_bound": "an upper bound: {n:,} of {of:,} marked lines are marked with their whole order",
    "assumed_rate": "{share:.0%} of it is interest at another half-year's legal rate: that of these days is not known",
    # what weakens it
    "drift_later": "returns arrive later than the curve says since {day} ({factor:.2f} times the delay): the curve is"
    " moved and the interval is wider",
    "drift_earlier": "returns arrive earlier than the curve says since {day} ({factor:.2f} times the delay): the"
    " curve is moved and the interval is wider",
    "new_curve": "{share:.0%} of what is still to come is of categories or return windows that are new since {day}: how"
    " late its returns arrive is estimated from others, so the interval is wider",
    "level_off": "of the orders of {since} to {until} {expected:.1%} were expected back, {observed:.1%} are: the"
    " interval may not cover",
    "forecast_wide": "the last weeks were {share:.0%} away from what was forecast of them: the interval is widened",
    "forecast_orders": "orders of the last weeks were {share:.0%} away from what was forecast of them: the interval is"
    " widened",
    "forecast_left": "the last weeks were {share:.0%} away from what was forecast of them, beyond its interval: no"
    " forecast",
    "stage_pace": "{stage} takes {factor:.2f} times the usual time of late: earlier waits do not tell what comes",
    "by_period": "by date of return over date of sale",
    "trend_low": "too low while sales grow: {n:,.0f} units sold in these days, {of:,.0f} in those {days} days earlier,"
    " which the returns stem from",
    "trend_high": "too high while sales fall: {n:,.0f} units sold in these days, {of:,.0f} in those {days} days"
    " earlier, which the returns stem from",
    "taken": "of the earlier days {share:.0%} lie before the data: their sales are taken to be like its first",
    "unseen": "too low: returns stem from sales {days} days earlier, and {share:.0%} of those days lie before the data",
    "of_compared": "compared period: {said}",
    "of_days_before": "the days before: {said}",
    # a target, a note or a view that cannot be kept
    "target_neutral": "This number has no better or worse: it takes no target.",
    "target_sum": "This number is a sum: more days give more of it. Set a target on a rate, a mean or a time.",
    "target_grows": "This number still grows while returns arrive. Set a target on the final return rate instead.",
    "target_number": "{value} is no number of this unit. Write a number, such as 4% for a share or 12.5.",
    "target_share": "This number is a share: {value} is more than all of it. Write 4% or 0.04.",
    "target_unit": "This number is in {unit}, not in {other}.",
    "target_days": "A target ends on or after the day it begins.",
    "target_none": "There is no target {number} that stands. `backhaul target list` shows them.",
    "note_empty": "A note needs a text, of at most {limit} characters.",
    "note_kind": "{kind} is no kind of note; one of {kinds}.",
    "note_none": "There is no note {number} that is shown. `backhaul annotation list` shows them.",
    "view_name": "A saved view needs a name, of at most {limit} characters.",
    "view_taken": "There is a saved view of this name already. Take another name, or remove the other first.",
    "view_none": "This saved view is gone. Save it again.",
    # a scenario that says nothing of the selection
    "no_method": "No return of the selection used {methods}: nothing says what they would cost.",
    "no_carrier": "No return of the selection travelled with {carrier}. There are: {carriers}.",
}
_NUMBER = r"-?[\d.,]+"
_SHARE = rf"(?:under |over )?{_NUMBER}%"


@dataclass(frozen=True)
class Why:
    """A code of `SENTENCES` and the texts that its parts were written as."""

    code: str
    parts: Mapping[str, str]


def why(code: str, **parts: Any) -> str:
    """Make a sentence of its code and parts; an unknown code raises KeyError.

    >>> why("young", share=0.314, limit=0.5)
    'too young: 31% of the expected returns have come, 50% are needed'
    """
    return SENTENCES[code].format(**parts)


def together(*sentences: str) -> str:
    """Put several sentences after each other; empty ones are left out.

    >>> together("", why("alone"), why("part", share="5.3%", what="waits"))
    'the value is of these alone; 5.3% of waits'
    """
    return "; ".join(filter(None, sentences))


def of_other(code: str, said: str) -> str:
    """Say of sentences that they are of other days; nothing where there are none.

    >>> of_other("of_compared", ""), of_other("of_compared", why("alone"))
    ('', 'compared period: the value is of these alone')
    """
    return why(code, said=said) if said else ""


def read(sentence: str) -> list[Why | str]:
    """Take sentences apart into their codes and parts; one that is none of them stays a text.

    >>> read("none of the refunds can be counted; half past ten")
    [Why(code='none', parts={'what': 'refunds'}), 'half past ten']
    """
    whole = _read(sentence)
    if whole is not None:
        return [whole]
    clauses, rest = [], sentence.split("; ")
    while rest:  # the longest of the sentences that begins here, for a sentence may hold a semicolon itself
        ends = (n for n in range(min(len(rest), 2), 0, -1) if _read("; ".join(rest[:n])) is not None)
        n = next(ends, 1)
        clauses.append(_read("; ".join(rest[:n])) or rest[0])
        rest = rest[n:]
    return clauses


_UNBOUNDED = {"between": "", "bounds_with": "", "bounds_only": "only", "bounds_none": "none"}


def without_bounds(sentence: str) -> str:
    """Leave out between which bounds a number lies.

    >>> without_bounds("between 0.0% and 83.3%: only 16.7% of returned units can be counted; 83.3% name no order")
    'only 16.7% of returned units can be counted; 83.3% name no order'
    """
    kept = []
    for said in sentence.split("; "):
        found = _read(said)
        code = None if found is None else _UNBOUNDED.get(found.code)
        kept.append(said if code is None or found is None else why(code, **found.parts) if code else "")
    return together(*kept)


def _read(sentence: str) -> Why | None:
    for code, pattern in _patterns():
        if found := pattern.fullmatch(sentence):
            return Why(code, found.groupdict())
    return None


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Give the pattern of each sentence, those with the most words of their own first.

    A part is a share or a number where one stands, else any text without a semicolon.
    """
    patterns = {code: "".join(_pattern(text)) for code, text in SENTENCES.items()}
    by_length = sorted(SENTENCES, key=lambda code: -len(re.sub(r"\{\w+(:[^}]*)?\}", "", SENTENCES[code])))
    return [(code, re.compile(patterns[code])) for code in by_length]


def _pattern(text: str) -> list[str]:
    found = []
    for before, name, spec, _ in string.Formatter().parse(text):
        found.append(re.escape(before))
        if name is not None:
            is_share = name == "share" or (spec or "").endswith("%")
            found.append(f"(?P<{name}>{_SHARE if is_share else _NUMBER if spec else '[^;]+'})")
    return found
