"""The part of the page Data that takes files.

Drop them, look the proposed mapping over, see what it would give, load it. It shows the same on the first start, when
there is no warehouse yet. What is done with the files lives in `pipelines.upload`.
"""

import time
import zoneinfo
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.i18n import Words, inert
from dashboard.shared import access, blocks, columns, places, queries
from dashboard.shared.theme import first_button
from dashboard.shared.turns import TURNS
from pipelines import upload
from pipelines.errors import BackhaulError
from pipelines.settings import Settings
from pipelines.sources.choices import Choices
from pipelines.sources.guesses import PRICES, Guess
from pipelines.sources.headings import TIMES, WORDS
from pipelines.sources.propose import Proposal
from pipelines.warehouse.build import is_begun

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ESSENTIAL = (
    "order_line_id",
    "order_id",
    "ordered_at",
    "product_id",
    "units",
    "net_amount",
    "requested_at",
    "received_at",
    "refunded_at",
    "refund_amount",
    "currency",
    "country",
)
SHOWN_ROWS = 200
POLL_SECONDS = 0.2


def part(words: Words, warehouse: Path) -> bool:
    """Show the uploader and what follows from its files; tell whether there are any."""
    if not access.may("change"):
        return False
    if not is_private() and not access.is_on():
        st.info(words("upload.public"), icon=":material/lock:")
        st.code(words("upload.command"), language="bash")
        return False
    settings = Settings(warehouse=warehouse)
    if loading := st.session_state.get("upload_loading"):
        follow(words, loading)
        return True
    st.caption(words("upload.about"))
    dropped = st.file_uploader(
        words("upload.files"),
        accept_multiple_files=True,
        key=f"upload_files_{st.session_state.get('upload_turn', 0)}",
        max_upload_size=settings.upload_mb,
        help=words("upload.limit", mb=words.number(settings.upload_mb)),
    )
    if dropped:
        _look_over(
            words,
            settings,
            [upload.File(file.name, file.getbuffer()) for file in dropped],
            "-".join(sorted(file.file_id for file in dropped)),
        )
    return bool(dropped)


def first_start(words: Words, reason: str) -> None:
    """Offer to take files, the three lines of the command line, and the demo shop.

    Or to make a build again that cannot be read.
    """
    settings = Settings()
    warehouse = settings.warehouse
    is_unreadable = is_begun(warehouse)
    st.title(words("empty.again" if is_unreadable else "empty.title"), anchor=False)
    if not access.may("change"):
        return
    if is_unreadable and "upload_loading" not in st.session_state:
        st.error(inert(reason))
        if is_private() and st.button(
            words("empty.make_again"), type=first_button(), icon=":material/refresh:", key="again"
        ):
            start(upload.Loading((), (), settings))
        return
    if part(words, warehouse):
        return
    if is_private():
        blocks.section(words("empty.lines"), words)
        st.code(words("upload.command"), language="bash")
    st.caption(words("empty.own", folder=str(warehouse.absolute())))
    blocks.section(words("empty.look"), words)
    blocks.demo_offer(words)


def is_private() -> bool:
    """Tell whether only this machine reaches the server.

    It listens on the loopback address and is asked for by that name.
    """
    address = str(st.get_option("server.address") or "")
    host = str(st.context.headers.get("Host") or LOOPBACK[0])
    return address in LOOPBACK and host.rsplit(":", 1)[0].strip("[]") in LOOPBACK


def _remembered(name: str, of: Any, make: Any) -> Any:
    """Give what was made before of the same thing in this session, or make it; a sentence where that fails."""
    known = st.session_state.get(name)
    if known is None or known[0] != of:
        try:
            known = (of, make())
        except BackhaulError as error:
            known = (of, str(error))
        st.session_state[name] = known
    return known[1]


def _look_over(words: Words, settings: Settings, files: Sequence[upload.File], signature: str) -> None:
    """Show what the files are, the mapping to look over, what it would give, and the button that loads it."""
    is_proposed = bool(st.session_state.get("upload_anew"))
    with st.spinner(words("upload.reading")):
        found = _remembered(
            "upload_found", (signature, is_proposed), lambda: upload.examine(files, settings, is_proposed=is_proposed)
        )
    if isinstance(found, str):
        st.error(inert(found))
        return
    groups = [_group(words, group, f"{signature}_{place}") for place, group in enumerate(found)]
    known = [group for group in groups if group.is_known]
    for group in known:
        said = (
            words("upload.known_source", source=group.source)
            if group.source
            else words("upload.known_mapping", mapping=group.mapping_name)
        )
        st.success(words.pair(f"**{inert(', '.join(group.names))}**", said), icon=":material/check_circle:")
    if is_proposed or any(group.mapping or group.source not in queries.CODED_SOURCES for group in known):
        st.toggle(words("upload.anew"), key="upload_anew")
    texts = tuple(group.text or group.source for group in groups)
    with st.spinner(words("upload.trying"), show_time=True):
        trial = _remembered("upload_trial", (signature, texts), lambda: upload.trial(files, groups, settings))
    blocks.section(words("upload.would_give"), words, note=words("upload.would_give_note"))
    is_loadable = _outcome(words, trial)
    _pages(words, groups)
    exported_on = st.date_input(
        words("upload.exported"), None, key="upload_exported", format="YYYY-MM-DD", help=words("upload.exported_help")
    )
    if st.button(
        words("upload.load"), type=first_button(), icon=":material/upload:", key="upload_load", disabled=not is_loadable
    ):
        start(upload.Loading(files, groups, settings, exported_on))


def _group(words: Words, group: upload.Group, key: str) -> upload.Group:
    """Let the reader edit what is proposed for a group of files; give it as it was left."""
    if group.proposal is None:
        return group
    blocks.section(words("upload.mapping", file=", ".join(group.names)), words, note=words("upload.mapping_note"))
    if group.doubt:
        st.warning(inert(group.doubt), icon=":material/help:")
    return replace(group, proposal=_edited(words, group.proposal, key))


def _edited(words: Words, proposal: Proposal, key: str) -> Proposal:
    """Show a proposed mapping as a table and its settings; give it as the reader left it."""
    choices = _choices(words, proposal, key)
    tables = []
    for place, table in enumerate(proposal.tables):
        if len(proposal.tables) == 1:
            roles = _roles(words, proposal, table, choices, f"{key}_{place}")
        else:
            with st.expander(inert(table.place), expanded=bool(table.kind), icon=":material/table:"):
                roles = _roles(words, proposal, table, choices, f"{key}_{place}")
        tables.append(replace(table, roles=roles))
    edited = replace(proposal, tables=tuple(tables), choices=choices)
    with st.expander(words("upload.text"), icon=":material/code:"):
        st.code(edited.yaml, language="yaml")
        st.download_button(
            words("upload.keep"),
            edited.yaml,
            f"{edited.name or 'mapping'}.yaml",
            "application/yaml",
            key=f"{key}_keep",
            on_click="ignore",
        )
    return edited


def _choices(words: Words, proposal: Proposal, key: str) -> Choices:
    """Let the reader say what no column says."""
    given = proposal.choices
    zones = sorted(zoneinfo.available_timezones())
    with st.grid(3, min_column_width=210):
        zone = st.selectbox(
            words("upload.zone"), zones, zones.index(given.time_zone), key=f"{key}_zone", help=words("upload.zone_help")
        )
        currency, country = given.currency, given.country
        if currency is not None:
            currency = st.text_input(
                words("upload.currency"),
                currency,
                max_chars=3,
                key=f"{key}_currency",
                help=words("upload.constant_help"),
            )
        if country is not None:
            country = st.text_input(
                words("upload.country"),
                country.replace("ZZ", ""),
                max_chars=2,
                key=f"{key}_country",
                help=words("upload.country_help"),
            )
        is_day_first = given.is_day_first
        if any(table.is_order_assumed for table in proposal.tables):
            orders = {True: words("upload.day_first"), False: words("upload.month_first")}
            is_day_first = st.selectbox(
                words("upload.order"),
                list(orders),
                int(not is_day_first),
                format_func=orders.__getitem__,
                key=f"{key}_order",
                help=words("upload.order_help"),
            )
        taxes = {False: words("upload.tax_outside"), True: words("upload.tax_inside")}
        is_tax_inside = st.selectbox(
            words("upload.tax"),
            list(taxes),
            int(given.is_tax_inside),
            format_func=taxes.__getitem__,
            key=f"{key}_tax",
            help=words("upload.tax_help"),
        )
        rate = given.tax_rate
        if is_tax_inside:
            rate = st.number_input(words("upload.tax_rate"), 0.0, 100.0, 100 * rate, 0.5, key=f"{key}_rate") / 100
    return Choices(
        zone,
        None if currency is None else currency.upper() or "EUR",
        None if country is None else country.upper() or "ZZ",
        is_day_first,
        is_tax_inside,
        rate,
    )


def rows(table: Guess) -> list[str]:
    """List the roles in the order of the table: those of the file, those that matter most, the others."""
    return list(dict.fromkeys([*(role for role in WORDS if role in table.roles), *ESSENTIAL, *WORDS]))


def _roles(words: Words, proposal: Proposal, table: Guess, choices: Choices, key: str) -> dict[str, str]:
    """Show role by role the column of the file, with examples and what is assumed; give role -> column."""
    roles = rows(table)
    edits = st.session_state.get(key, {}).get("edited_rows", {})
    shown = {role: edits.get(place, {}).get("column", table.roles.get(role)) for place, role in enumerate(roles)}
    now = replace(table, roles={role: column for role, column in shown.items() if column})
    frame = pd.DataFrame(
        {
            "role": [words.value("mapped", role) for role in roles],
            "column": [table.roles.get(role) for role in roles],
            "examples": [" · ".join(table.examples(column)) if column else "" for column in shown.values()],
            "assumed": [_assumed(words, now, proposal, choices, role) for role in roles],
        },
        dtype="object",
    )
    edited = st.data_editor(
        frame,
        key=key,
        hide_index=True,
        disabled=["role", "examples", "assumed"],
        column_config=columns.mapping_editor(words, table.header),
        placeholder=words("upload.no_column"),
        height=38 + 35 * min(len(table.roles) + 4, 14),
        alt=words("upload.mapping", file=proposal.file),
    )
    return {
        role: str(column)
        for role, column in zip(roles, edited["column"], strict=True)
        if column and not pd.isna(column)
    }


def _assumed(words: Words, table: Guess, proposal: Proposal, choices: Choices, role: str) -> str:
    """Say what is assumed of a role, or nothing."""
    has = table.roles.keys()
    if role in TIMES and role in has:
        order = (
            words("upload.day_first" if choices.is_day_first else "upload.month_first")
            if table.is_order_assumed
            else ""
        )
        return ", ".join(
            filter(None, [words("upload.in_zone", zone=choices.time_zone.removeprefix("Etc/")), order.lower()])
        )
    if role in PRICES and role in has:
        if not choices.is_tax_inside:
            return words("upload.tax_outside").lower()
        return (
            words("upload.tax_column")
            if "vat_amount" in has
            else words("upload.tax_taken", rate=words.percent(choices.tax_rate))
        )
    if role == "refund_amount" and role in has:
        return words("upload.tax_inside").lower()
    if role in has or "ordered_at" not in has:
        return ""
    every = {
        "units": "1",
        "currency": choices.currency if "currency" not in proposal.roles else "",
        "country": choices.country if "country" not in proposal.roles else "",
    }
    value = every.get(role)
    return "" if not value else words("upload.unknown") if value == "ZZ" else words("upload.every_row", value=value)


def _outcome(words: Words, outcome: upload.Outcome | str) -> bool:
    """Show how rows were judged and which were quarantined; tell whether some were accepted."""
    if isinstance(outcome, str) or outcome.problem:
        st.error(inert(outcome if isinstance(outcome, str) else outcome.problem))
        return False
    for sentence in (s for report in outcome.reports for s in report.refused):
        st.error(inert(sentence))
    for sentence in (s for report in outcome.reports for s in report.notes):
        st.info(inert(sentence))
    counted = [
        {**count, "thing": count["table"]}
        for report in outcome.reports
        for count in (*report.counts, *report.derived)
        if count["table"] != "shop"
    ]
    skipped = [name for report in outcome.reports for name in report.skipped]
    if skipped:
        st.info(words("upload.skipped", names=", ".join(skipped)), icon=":material/content_copy:")
    if not counted:
        return False
    judged = pd.DataFrame(counted)
    blocks.plain_table(words, judged, words("upload.would_give"), columns.judged(words))
    aside = outcome.quarantined
    if aside is None or aside.empty:
        st.markdown(":material/check: " + words("data.quarantine_none"))
    else:
        st.markdown(":material/warning: " + words("upload.quarantined", n=words.number(judged["quarantined"].sum())))
        blocks.plain_table(words, aside.head(SHOWN_ROWS), words("data.tab_quarantine"), columns.quarantined(words))
    unread = [
        {**row, "thing": row["table"], "rules": row["fault"]} for report in outcome.reports for row in report.unread
    ]
    if unread:
        st.markdown(f":material/warning: **{words('data.unread')}** {words('data.unread_note')}")
        blocks.plain_table(words, pd.DataFrame(unread), words("data.unread"), columns.unread(words))
    for name in ("replaced", "withdrawn"):
        if rows := judged[name].sum():
            st.markdown(f":material/history: {words(f'upload.{name}', n=words.number(rows))}")
    return bool(judged["accepted"].sum())


def _pages(words: Words, groups: Sequence[upload.Group]) -> None:
    """Say which pages the proposed mappings would fill."""
    for group in groups:
        if group.proposal is not None:
            names = {page: page.lower() for page in group.proposal.pages}  # a place, or a page of one
            pages = {p: words(f"place.{n}" if n in places.PLACES else f"page.{n}") for p, n in names.items()}
            filled = [pages[page] for page, is_filled in group.proposal.pages.items() if is_filled]
            empty = [pages[page] for page, is_filled in group.proposal.pages.items() if not is_filled]
            st.markdown(
                words("upload.pages", pages=", ".join(filled) or words("upload.none"))
                + (" " + words("upload.pages_empty", pages=", ".join(empty)) if empty else "")
            )


def start(loading: upload.Loading) -> None:
    """Begin a load and show it; raises AccessError for who may not."""
    access.changed("files_loaded:" + ",".join(file.name for file in loading.files))
    loading.start()
    st.session_state["upload_loading"] = loading
    st.rerun()


def watch(words: Words, loading: upload.Loading) -> None:
    """Show how far a load is, until it ends."""
    with TURNS.lent(), st.status(words("upload.loading"), expanded=True) as status:
        shown = 0
        while loading.is_alive():
            for step in loading.steps[shown:]:
                st.write(inert(words.translated(step)))
                shown += 1
            time.sleep(POLL_SECONDS)
        status.update(label=words("upload.loaded"), state="complete")


def follow(words: Words, loading: upload.Loading) -> None:
    """Show how far a load is, then what it did."""
    if loading.outcome is None:
        watch(words, loading)
        st.rerun()
    outcome = loading.outcome
    assert outcome is not None
    if not outcome.problem:
        st.success(_done(words, outcome), icon=":material/check_circle:")
        blocks.link_to(words, "today", words("upload.to_overview"), icon=":material/today:")
    _outcome(words, outcome)
    for warning in (w for report in outcome.reports for w in report.warnings):
        st.warning(f"{inert(warning['sentence'])} ({words.number(warning['rows'])})")
    for alert in (a for report in outcome.reports for a in report.alerts):
        st.warning(inert(alert), icon=":material/notifications:")
    st.button(words("upload.more"), icon=":material/add:", key="upload_more", on_click=_begin_again)


def _done(words: Words, outcome: upload.Outcome) -> str:
    accepted = sum(count["accepted"] for report in outcome.reports for count in report.counts)
    return words("upload.done", n=words.number(accepted))


def arrival(words: Words) -> None:
    """Say on the first page after a first start what was loaded; the page Data says more."""
    loading = st.session_state.get("upload_loading")
    if loading is not None and loading.outcome is not None and not loading.outcome.problem:
        st.success(_done(words, loading.outcome), icon=":material/check_circle:")
        blocks.link_to(words, "add", words("upload.to_data"), icon=":material/database:")


def _begin_again() -> None:
    """Forget the last load and its files."""
    for name in ("upload_loading", "upload_found", "upload_trial", "upload_anew"):
        st.session_state.pop(name, None)
    st.session_state["upload_turn"] = st.session_state.get("upload_turn", 0) + 1
