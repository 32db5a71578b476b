"""Builds that the pages' server holds open, and pages that stay open longer than their build is kept."""

import gc
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import warming
from dashboard.shared import builds, renewed
from dashboard.shared.builds import Open, Source
from pipelines.errors import WarehouseMissing
from pipelines.load import load
from pipelines.settings import Settings
from pipelines.warehouse.build import current_id


def now(settings: Settings) -> Source:
    return Source(settings.warehouse, str(current_id(settings.warehouse)))


def test_an_earlier_build_is_let_go_of_when_nobody_asks_for_it(
    copy_of_tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: Any = SimpleNamespace(at=1000.0)
    clock.monotonic = lambda: clock.at
    monkeypatch.setattr(builds, "time", clock)
    held, first = Open(), now(copy_of_tiny)
    earlier = weakref.ref(held.get(first))
    load(copy_of_tiny, rebuild=True)
    second = now(copy_of_tiny)
    newest = held.get(second)
    assert (len(held), earlier() is held.get(first)) == (2, True)
    clock.at += builds.IDLE_S + 1
    held.get(second)
    assert (len(held), earlier()) == (1, None)  # closed at once: nothing in a circle holds it
    clock.at += 10 * builds.IDLE_S  # the newest stays, whoever asks for it
    assert held.get(first).build_id == first.build_id
    assert held.get(second) is newest
    monkeypatch.setattr(builds, "SEEN", builds.Seen())
    builds.SEEN.stay(copy_of_tiny.warehouse, first.build_id)
    clock.at += 10 * builds.IDLE_S  # it is made ready meanwhile: what it was handed is not lost
    held.get(first)
    assert held.get(second) is newest


def test_what_the_collection_leaves_out_is_collected_when_it_is_used_no_more() -> None:
    class Shown: ...

    before = gc.get_freeze_count()
    one = Shown()
    one.itself = one  # type: ignore[attr-defined]
    held = weakref.ref(one)
    try:
        warming._stays()
        del one
        gc.collect()
        assert held() is not None
        warming._stays()
        assert held() is None
    finally:
        if not before:
            gc.unfreeze()


def _left_open() -> None:
    """A page one part of which reads a build that is gone; of the page that is drawn anew it reads another one."""
    import streamlit as st

    from dashboard.shared.renewed import renewed as of_its_build
    from pipelines.errors import WarehouseMissing as Gone

    turns = st.session_state["turns"] = st.session_state.get("turns", 0) + 1
    view = st.session_state["views"][turns - 1]

    @of_its_build
    def part(view) -> None:  # type: ignore[no-untyped-def]
        if view.source.build_id == "000000-20260101T000000":
            raise Gone("gone")
        st.write("drawn")

    part(view)


def test_a_page_whose_build_is_gone_is_drawn_anew_once_and_a_damaged_one_says_so(tiny_settings: Settings) -> None:
    gone = SimpleNamespace(source=Source(tiny_settings.warehouse, "000000-20260101T000000"))
    newest = SimpleNamespace(source=now(tiny_settings))
    app = AppTest.from_function(_left_open, default_timeout=120)
    app.session_state["views"] = [gone, newest]
    app.run()
    assert (app.session_state["turns"], app.markdown[0].value, len(app.exception)) == (2, "drawn", 0)

    @renewed.renewed
    def damaged(_view: Any) -> None:
        raise WarehouseMissing("damaged")

    with pytest.raises(WarehouseMissing, match="damaged"):
        damaged(newest)  # type: ignore[arg-type]


def test_what_waits_of_web_hooks_stands_on_the_page_of_sources(copy_of_tiny: Settings) -> None:
    import dashboard
    from pipelines.receiving import taking
    from pipelines.receiving.spool import write_durably
    from tests.pages import turn

    held = copy_of_tiny.spool / "loop"
    write_durably(held / "waiting" / "20260401T100000000000-000000000-a.ndjson", [b"{}\n"] * 2)
    aside = b'{"came_at": "2026-04-01T10:00:00Z", "reason": "%s", "event": "x"}\n' % taking.NOT_JSON.encode()
    write_durably(held / "aside" / "20260401T110000000000-1.ndjson", [aside])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BACKHAUL_WAREHOUSE", str(copy_of_tiny.warehouse))
        app = AppTest.from_file(str(Path(dashboard.__file__).with_name("app.py")), default_timeout=120)
        app.query_params["lang"] = "fr"
        turn(app, "sources").run()
    assert not app.exception
    (shown,) = (one.value for one in app.dataframe if "hook" in one.value)
    (row,) = shown.to_dict("records")
    assert (row["hook"], row["events"], row["aside"], row["reasons"]) == ("loop", 2, 1, "Ce n'est pas du JSON.")
    assert str(row["since"]).startswith("2026-04-01 10:00")


def _interrupted() -> None:
    """A bar and a choice of whose state an interrupted run has left out some, as a hasty reader's browser finds it."""
    import streamlit as st

    from dashboard.shared import blocks, filters

    st.session_state["period"] = "90d"
    filters._another_period()
    st.session_state["state"] = None
    st.write(blocks._picked("state", ["todo", "done"], "todo"))


def test_what_an_interrupted_run_left_out_is_no_error() -> None:
    app = AppTest.from_function(_interrupted, default_timeout=120).run()
    assert (len(app.exception), app.markdown[0].value) == (0, "todo")
