"""Sentences, columns and blocks of the page emissions."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.app_pages.carbon.emissions import data
from dashboard.i18n import MISSING, Words, inert
from dashboard.shared import access, rows_behind
from dashboard.shared.blocks import section
from dashboard.shared.columns import Columns, day, instant, number, of, percent, text
from dashboard.shared.filters import View
from dashboard.shared.findings import mass, told
from dashboard.shared.theme import first_button
from pipelines.errors import BackhaulError

LONGEST = 200  # characters of who signs for a month, and why again


def traced(words: Words, leg: dict[str, Any]) -> None:
    """Show how one leg's number was made: formula with its numbers, what each rests on, the factor and its source."""
    st.code(leg["formula"], language=None, wrap_lines=True)
    status = {
        part: words.value("status", leg[f"{part}_status"]) if leg[f"{part}_status"] else MISSING
        for part in ("distance", "mass")
    }
    source = (
        f"[{leg['factor_source']}]({leg['factor_source_address']})"
        if leg["factor_source_address"]
        else str(leg["factor_source"] or MISSING)
    )
    kind = leg["distance_type"]
    distance = [status["distance"], *([words.value("distance_type", kind)] if kind else [])]
    rows = {
        words("emissions.leg"): leg["element_id"],
        words("emissions.role"): f"{words.value('role', leg['role'])}, {words.value('mode', leg['mode'])}",
        words("emissions.from"): leg["from_name"] or MISSING,
        words("emissions.to"): leg["to_name"] or MISSING,
        words("emissions.distance"): f"{words.number(leg['distance_km'], 1)} ({', '.join(distance)})",
        words("emissions.mass"): f"{words.number(leg['mass_kg'], 3)} ({status['mass']})",
        words("emissions.kg"): (
            words.number(leg["kg_co2e"], 4)
            + ("" if leg["low"] is None else f" ({words.number(leg['low'], 4)} – {words.number(leg['high'], 4)})")
        ),
        words("emissions.parts_of"): f"{words.number(leg['kg_co2e_wtt'], 4)} + {words.number(leg['kg_co2e_ttw'], 4)}",
        words("emissions.allocation"): words.value("allocation", leg["method"]),
        words("emissions.by_tonne_km"): words.number(leg["kg_co2e_tonne_km"], 4),
        words("emissions.scope3"): str(leg["scope3_category"] or MISSING),
        words(
            "emissions.factor"
        ): f"{leg['factor_description'] or MISSING} {leg['factor_value'] or ''} {leg['factor_unit'] or ''}",
        words("emissions.source"): (
            f"{source}, {MISSING if leg['factor_year'] is None else int(leg['factor_year'])},"
            f" {leg['factor_row_id'] or MISSING}, {leg['factor_licence'] or MISSING}"
        ),
    }
    st.table(
        pd.DataFrame(
            {words("emissions.item"): list(rows), words("emissions.value"): [str(value) for value in rows.values()]}
        ),
        hide_index=True,
    )


def assumed(words: Words, found: pd.DataFrame) -> pd.DataFrame:
    """Name levers and the parameters they rest on, with their values."""

    def told(names: Sequence[str]) -> str:
        return words.semicolon.join(words.pair(words.value("parameter", n), f"{data.parameter(n):g}") for n in names)

    return found.assign(
        name=[words.value("lever", x) for x in found["lever"]], rests_on=[told(a) for a in found["assumes"]]
    )


def ruled(words: Words, found: pd.DataFrame) -> pd.DataFrame:
    """Say in the reader's words what each rule is, by which article, and whether it binds."""
    own = {n: found[f"{n}_fr"] for n in ("name", "note")} if words.language == "fr" else {}
    status = [words.value("rule_status", s) for s in found["status"]]
    return found.assign(status=status, source=found["source"] + ", " + found["article"], **own)


def close_form(view: View) -> None:
    """Offer to close a month: which, who signs, and why again where it is closed; say what the last closing did."""
    words, source = view.words, view.asked.source
    if source.scope or not access.may("save"):
        return
    if done := st.session_state.pop("month_closed", None):
        month, kg = words.month(pd.Timestamp(done.month)), mass(words, done.kg_co2e)
        st.success(inert(words("emissions.close_done", month=month, kg=kg, who=done.approver)), icon=":material/check:")
    months, standing = data.months_to_close(source), data.standing(source)
    if not months:
        return
    section(words("emissions.close"), words, note=words("emissions.close_note"))
    first = next((at for at, month in enumerate(months) if month not in standing), 0)
    with st.form("close_month", border=True):
        month = st.selectbox(
            words("emissions.month"), months, first, format_func=lambda m: words.month(pd.Timestamp(m)), key="closing"
        )
        approver, wrong_approver = _approver(words)
        note = st.text_input(words("emissions.close_again"), max_chars=LONGEST, key="closing_note")
        wrong_note = st.empty()
        is_sent = st.form_submit_button(words("emissions.close_button"), type=first_button(), icon=":material/lock:")
    if not is_sent:
        return
    if not approver.strip():
        wrong_approver.error(words("emissions.close_nobody"))
    elif month in standing and not note.strip():
        wrong_note.error(inert(words("emissions.close_why", who=standing[month].approver)))
    else:
        try:
            st.session_state["month_closed"] = data.close_month(source, month, approver, note)
        except BackhaulError as error:
            wrong_note.error(inert(words.translated(str(error))))
            return
        st.rerun()


def _approver(words: Words) -> tuple[str, Any]:
    """Ask who signs, or name the reader, who does; and keep the place for what is wrong with it."""
    if access.is_on():
        reader = access.current().name
        st.caption(inert(words.pair(words("emissions.approver"), reader)))
        return reader, st.empty()
    return st.text_input(words("emissions.approver"), max_chars=LONGEST, key="closing_approver"), st.empty()


def reports(view: View) -> None:
    """Offer the carbon report of the period, and say who reports."""
    words, asked = view.words, view.asked
    section(
        words("emissions.report"),
        words,
        note=words("emissions.report_note", since=words.day(asked.since), until=words.day(asked.until)),
    )
    if asked.source.scope or not access.may("export"):
        return
    with st.container(horizontal=True, gap="small"):
        for form, kind in (("xlsx", rows_behind.MIME["xlsx"]), ("pdf", "application/pdf")):
            st.download_button(
                words(f"emissions.report_{form}"),
                access.exporting(f"carbon_report.{form}", partial(data.carbon_report, asked, form)),
                f"backhaul-emissions.{form}",
                kind,
                key=f"report_{form}",
                on_click="ignore",
            )
    if not data.has_company(asked.source):
        st.caption(words("emissions.no_company"))


def lanes_columns(words: Words) -> Columns:
    """Show lanes with what they carried and emitted."""
    return of(
        words,
        "emissions",
        from_name=("from", text),
        to_name=("to", text),
        parcels=("parcels", number),
        kg_co2e=("kg", lambda label: number(label, 1)),
    )


def legs_columns(words: Words) -> Columns:
    """Show legs with the numbers their emissions are made of."""
    return of(
        words,
        "emissions",
        element_id=("leg", text),
        role=("role", text),
        mode=("mode", text),
        carrier=("carrier", text),
        distance_km=("distance", lambda label: number(label, 1)),
        mass_kg=("mass", lambda label: number(label, 2)),
        kg_co2e=("kg", lambda label: number(label, 3)),
        status=("status", text),
        started_on=("started", day),
    )


def levers_columns(words: Words, currency: str) -> Columns:
    """Show levers with what they would have saved."""
    return of(
        words,
        "emissions",
        name=("lever", text),
        touched=("touched", number),
        kg_co2e=("saved_kg", number),
        share=("of_total", percent),
        money=("saved_money", lambda label: number(f"{label} ({words.unit(currency)})")),
        days=("sooner", lambda label: number(label, 1)),
        avoided_kg_co2e=("displaced", number),
        rests_on=("rests_on", text),
    )


def closed_columns(words: Words) -> Columns:
    """Show closed months with what they would be now."""
    return of(
        words,
        "emissions",
        month=("month", text),
        number=("closing", number),
        approver=("approver", text),
        closed_at=("closed_at", instant),
        factor_set=("set", text),
        closed=("closed_kg", lambda label: number(label, 1)),
        now=("now_kg", lambda label: number(label, 1)),
        late=("late", lambda label: number(label, 1)),
        gone=("gone", lambda label: number(label, 1)),
        factor=("of_factor", lambda label: number(label, 1)),
        inputs=("of_inputs", lambda label: number(label, 1)),
    )


def obligations_columns(words: Words) -> Columns:
    """Show rules of reporting."""
    return of(
        words,
        "emissions",
        name=("rule", text),
        status=("rule_status", text),
        applies_from=("applies_from", text),
        source=("source", text),
        note=("rule_note", text),
    )


def heaviest(words: Words, parts: pd.DataFrame, kind: str) -> str:
    """Name the group that emits most."""
    total = parts.groupby("label", observed=True)["value"].sum()
    if total.empty or total.sum() <= 0:
        return words("emissions.tab_parts")
    role, share = words.value(kind, total.idxmax()), words.percent(total.max() / total.sum(), 0)
    return told(words, "finding.carbon_role", parts, role=role, share=share)


def emission_causes(words: Words, changed: pd.DataFrame) -> str:
    """Say what moved the emissions per 100 units sold most."""
    causes = changed[changed["kind"] == "step"].set_index("step")["amount"]
    first = str(causes.abs().idxmax())
    before, after = (float(changed.loc[changed["step"] == s, "amount"].iloc[0]) for s in ("before", "after"))
    return told(
        words,
        "finding.emission_causes",
        changed,
        before=words.number(before, 1),
        after=words.number(after, 1),
        cause=words.value("step", first).lower(),
        amount=words.signed(words.number(float(causes[first]), 1), float(causes[first])),
    )


def doubt(words: Words, swings: pd.DataFrame) -> str:
    """Name what would narrow the interval most."""
    if swings.empty:
        return words("emissions.tab_sure")
    first = swings.iloc[0]
    source, share = words.doubt(first["source"]), words.percent(first["share"], 0)
    return told(words, "finding.doubt", first, source=source, share=share)


def measured(words: Words, swings: pd.DataFrame) -> pd.DataFrame:
    """List the measurements that would tell the sources of doubt, by the kg CO2e that they take off for their cost."""
    rows = []
    for way, told_by in swings.groupby("measuring", sort=False):
        sources = words.semicolon.join(words.doubt(s) for s in told_by["source"])
        rows.append({**told_by.iloc[0], "name": words.value("measuring", way), "tells": sources})
    return pd.DataFrame(rows).sort_values("kg_per_cost", ascending=False, ignore_index=True)


def narrowing(words: Words, measurements: pd.DataFrame, currency: str) -> str:
    """Name the measurement that takes most off the interval for its cost."""
    first = measurements.iloc[0]
    cost = words.money(first["cost"], currency)
    return told(
        words, "finding.narrowing", first, measuring=first["name"], kg=mass(words, first["narrower_kg"]), cost=cost
    )


def measured_columns(words: Words, currency: str) -> Columns:
    """Show measurements with what they cost and what they take off the interval."""
    return of(
        words,
        "emissions",
        name=("measuring", text),
        tells=("tells", text),
        cost=("measuring_cost", lambda label: number(f"{label} ({words.unit(currency)})")),
        narrower_kg=("narrower", lambda label: number(label, 1)),
        kg_per_cost=("per_cost", lambda label: number(f"{label} ({words.unit(currency)})", 3)),
    )


def parcels(words: Words, spread: pd.DataFrame) -> str:
    """Say how many parcels emit an implausible amount."""
    flagged, all_of_them = (words.number(spread[n].sum()) for n in ("flagged", "parcels"))
    return told(words, "finding.parcels", spread, flagged=flagged, parcels=all_of_them)


def lever(words: Words, found: pd.DataFrame) -> str:
    """Name the lever that would have saved most."""
    known = found.dropna(subset=["kg_co2e"])
    if known.empty:
        return words("emissions.tab_levers")
    first = known.iloc[0]
    return told(
        words,
        "finding.lever",
        first,
        lever=words.value("lever", first["lever"]),
        kg=mass(words, first["kg_co2e"]),
        share=words.percent(first["share"], 0),
    )


def closed(words: Words, months: pd.DataFrame) -> str:
    """Say how many months are closed and how many would be restated."""
    if months.empty:
        return words("finding.none_closed")
    changed = int(((months["now"] - months["closed"]).abs() > 0.5).sum())
    return told(words, "finding.closed", (), n=str(len(months)), changed=str(changed))
