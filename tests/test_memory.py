"""What was answered once: bounded, answered once for all who ask, and the very answers of the facts when warmed."""

import importlib
import threading
import time
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from pickle import PicklingError
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard import warming
from dashboard.shared import memory, queries
from dashboard.shared.builds import SEEN
from dashboard.shared.memory import MEMORY, Memory, remembered, weight
from dashboard.shared.turns import Turns
from dashboard.warming import Warming
from pipelines import analyses
from pipelines.access import OWNER
from pipelines.load import load
from pipelines.settings import Settings
from pipelines.warehouse.build import current_id
from pipelines.warehouse.engine import Build
from tests.turns import by_turns

HOME = Path(dashboard.__file__).parent
NONE: frozenset[str] = frozenset()


def test_what_was_used_longest_ago_goes_first_and_what_has_no_room_is_not_kept() -> None:
    size = weight("x" * 1000) + weight((1,))
    kept = Memory(3 * size + 2 * weight(NONE) * 3)
    for number in (1, 2, 3):
        kept.keep(("f", (number,), ()), ("x" * 1000, NONE))
    assert kept.look(("f", (1,), ())) is not None
    kept.keep(("f", (4,), ()), ("x" * 1000, NONE))
    assert kept.look(("f", (2,), ())) is None
    assert kept.look(("f", (1,), ())) is not None
    kept.keep(("g", (), ()), ("x" * 100_000, NONE))
    assert kept.look(("g", (), ())) is None
    kept.keep(("f", (5,), ()), ("x" * 1000, NONE), takes_room=False)
    assert kept.look(("f", (5,), ())) is None
    assert len(kept) == 3
    assert kept.bytes > 0
    kept.forget("f")
    assert (len(kept), kept.bytes) == (0, 0)


def test_a_frame_weighs_what_its_text_weighs() -> None:
    assert weight(pd.DataFrame({"a": ["x" * 1000] * 100})) > 100_000 > weight(pd.DataFrame({"a": ["x"] * 100}))


def test_those_who_ask_at_once_are_answered_once() -> None:
    kept, begun, asked = Memory(), threading.Barrier(5), list[int]()

    def slow() -> memory.Answer:
        asked.append(1)
        return "answer", NONE

    def reader() -> None:
        begun.wait()
        assert kept.answered(("f", (), ()), slow) == ("answer", NONE)

    readers = [threading.Thread(target=reader) for _ in range(5)]
    for one in readers:
        one.start()
    for one in readers:
        one.join()
    assert asked == [1]
    assert not kept._asked


def test_no_more_are_answered_at_once_than_there_are_turns_and_who_asks_on_has_theirs() -> None:
    kept, begun, now, most = Memory(turns=Turns(2)), threading.Barrier(12), list[int](), list[int]()

    def inner() -> memory.Answer:
        now.append(1)
        most.append(len(now))
        time.sleep(0.02)  # time for others to begin, were they let
        now.pop()
        return "inner", NONE

    def reader(number: int) -> None:
        begun.wait()
        kept.answered(("outer", (number,), ()), lambda: kept.answered(("inner", (number,), ()), inner))

    readers = [threading.Thread(target=reader, args=(number,)) for number in range(12)]
    for one in readers:
        one.start()
    for one in readers:
        one.join()
    assert max(most) == 2
    assert len(kept) == 24


def test_a_long_list_is_kept_thin_and_given_as_it_was() -> None:
    """Forty thousand open returns hold a dozen texts that say the same again and again."""
    rows = 40_000
    ids = pd.Series([f"return {n}" for n in range(rows)])
    texts = {
        f"text_{n}": pd.Series(["request to refund", "inspection", None, "refund"] * (rows // 4)) for n in range(8)
    }
    listed = pd.DataFrame({"id": ids, **texts, "amount": range(rows)})
    kept = Memory()
    kept.keep(("listed", (), ()), (listed, frozenset({"brand"})))
    found = kept.look(("listed", (), ()))
    assert found is not None
    pd.testing.assert_frame_equal(found[0], listed)
    assert found[1] == {"brand"}
    assert kept.bytes < weight(listed) / 3


def test_who_waits_for_anothers_answer_keeps_nobody_from_theirs() -> None:
    kept, asked, is_over = Memory(turns=Turns(2)), threading.Semaphore(0), threading.Event()

    def slow() -> memory.Answer:
        asked.release()
        assert is_over.wait(60)
        return "slow", NONE

    readers = [threading.Thread(target=kept.answered, args=(("same", (), ()), slow)) for _ in range(5)]
    for one in readers:
        one.start()
    assert asked.acquire(timeout=60)
    others = threading.Thread(
        target=lambda: [kept.answered(("other", (n,), ()), lambda: ("other", NONE)) for n in range(9)]
    )
    others.start()
    others.join(60)
    assert not others.is_alive(), "five wait for one answer, and nobody else is answered"
    is_over.set()
    for one in readers:
        one.join()
    assert len(kept) == 10
    assert not kept._asked


def test_what_fails_is_asked_again() -> None:
    tried: list[int] = []

    @remembered
    def fails_once(of: int) -> int:
        tried.append(of)
        if len(tried) == 1:
            raise ValueError("once")
        return of

    with pytest.raises(ValueError, match="once"):
        fails_once(7)
    assert [fails_once(7), fails_once(7)] == [7, 7]
    assert tried == [7, 7]


def again(key: memory.Key) -> Any:
    """Ask anew what was answered."""
    module, name = key[0].rsplit(".", 1)
    return getattr(importlib.import_module(module), name)(*key[1], **dict(key[2]))


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
        return True
    return bool(one == other) or repr(one) == repr(other)


def test_a_server_that_warmed_itself_answers_as_the_facts_do(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in three of the answers that were handed over is what the same question gets; Today asks nothing any more."""
    MEMORY.forget()
    monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(tiny_settings.warehouse))
    asked: list[memory.Key] = []
    monkeypatch.setattr(MEMORY, "told", lambda key, _answer: asked.append(key))
    warmed = Warming(replace(tiny_settings, warm_minutes=15), ("today",))
    warmed.warm(str(current_id(tiny_settings.warehouse)))
    assert warmed.build_id == current_id(tiny_settings.warehouse)
    assert asked == []
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=120).run()
    assert not app.exception
    assert asked == []
    (first, *_) = warming.cells(queries.source(tiny_settings.warehouse))
    for name, value in first.items():
        app.session_state[name] = [value]
    assert not app.run().exception
    assert asked == []
    given = dict(MEMORY._kept)
    assert len(given) == warmed.answers > 20
    for key in given:
        assert isinstance(key[1][0], queries.Source | queries.PageQuestion)  # each is of one build, within one scope
    MEMORY.forget()
    for key, ((answer, _), _) in by_turns(list(given.items()), 3):
        assert alike(answer, again(key)), key


def test_readers_stay_with_a_build_until_the_pages_of_the_next_are_ready(
    copy_of_tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pages take long; who loads sees the newest at once, and so does who asks for it."""
    home = copy_of_tiny.warehouse
    monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(home))
    warmed = Warming(replace(copy_of_tiny, warm_minutes=15), ("close",))
    first = str(current_id(home))
    warmed.warm(first)
    assert (SEEN.id(home), warmed.build_id) == (first, first)
    second = str(load(copy_of_tiny, rebuild=True).build_id)
    assert SEEN.id(home) == second != first
    SEEN.stay(home, first)
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=120).run()
    assert app.session_state["view"].source.build_id == first
    app.button(key="chip_build").click().run()
    assert app.session_state["view"].source.build_id == second
    assert not [b for b in app.button if b.key == "chip_build"]
    taken, take = list[tuple[str, str | None, int]](), warmed._take

    def noted(told: tuple[str, Any, Any]) -> bool:
        taken.append((told[0], SEEN.id(home), len(MEMORY)))
        return take(told)

    monkeypatch.setattr(warmed, "_take", noted)
    warmed._took_s = warming.SOON_S + 1
    MEMORY.forget()
    warmed.warm(second)
    kinds = [kind for kind, _, _ in taken]
    before = taken[: kinds.index("ready") + 1]
    assert {(seen, kept) for _, seen, kept in before} == {(first, 0)}
    assert {seen for _, seen, _ in taken[len(before) :]} == {second}
    assert len(MEMORY) >= kinds[: len(before)].count("answer") > 0
    warmed._took_s = warming.SOON_S + 1
    monkeypatch.setattr("dashboard.warming.current_id", lambda _: first)  # rolled back
    warmed.warm(first)
    assert taken[len(kinds)][1] == first  # at once
    assert not SEEN._stays


def test_nobody_waits_for_ever_for_a_build(copy_of_tiny: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads that come faster than pages are made ready keep readers no longer than the first of them."""
    warmed = Warming(copy_of_tiny)
    monkeypatch.setattr(warming.time, "monotonic", lambda: 5_000.0)
    assert not warmed._has_waited()
    warmed._waits_since = 5_000.0 - warming.LATEST_S
    assert not warmed._has_waited()
    warmed._waits_since -= 1
    assert warmed._has_waited()


def test_each_scope_of_a_reader_is_warmed_and_the_whole_shop_first(copy_of_tiny: Settings) -> None:
    copy_of_tiny.readers_file.write_text(
        "version: 1\nreaders:\n"
        "  - {email: a@example.org, role: viewer, markets: [FR]}\n"
        "  - {email: b@example.org, role: analyst, markets: [FR]}\n"
        "  - {email: c@example.org, role: viewer, brands: [Tilleul]}\n",
        encoding="utf-8",
    )
    whole, *others = warming.readers(copy_of_tiny.warehouse)
    assert whole == OWNER
    assert [one.scope.text for one in others] == ["markets FR", "brands Tilleul"]
    copy_of_tiny.readers_file.write_text("nothing of ours", encoding="utf-8")
    assert warming.readers(copy_of_tiny.warehouse) == [OWNER]


def test_cells_take_turns_among_the_filters(sample_settings: Settings) -> None:
    """The first values of every filter come before the second of any: time that runs out leaves none without."""
    found = warming.cells(queries.source(sample_settings.warehouse))
    names = [name for one in found for name in one]
    assert len(set(names[: len(set(names))])) == len(set(names)) > 4
    assert len(found) == len({tuple(one.items()) for one in found})


def test_what_was_worked_out_of_a_build_can_be_handed_on(sample_build: Build) -> None:
    """What stays in its process is read again by the server, under every filter."""
    analyses.accrual_backtest(sample_build)
    left = [name for name, found in sample_build.cache.items() if name not in warming.OWN and not _handed(found)]
    assert left == []


def _handed(found: Any) -> bool:
    try:
        return bool(ForkingPickler.dumps(found))
    except (PicklingError, AttributeError, TypeError):
        return False


def test_who_has_no_turn_lends_none() -> None:
    """Waiting outside of a turn leaves no turn too many behind."""
    turns = Turns(1)
    with turns.lent():
        pass
    assert turns._free == 1


def test_who_lent_its_turn_takes_the_next_one_before_those_who_wait() -> None:
    """A page that waits for another's answer is not sent to the end of the queue for it."""
    turns, order = Turns(1), list[str]()
    is_lent, is_taken, comes_back, ends = (threading.Event() for _ in range(4))

    def lends() -> None:
        with turns.taken():
            with turns.lent():
                is_lent.set()
                comes_back.wait()
            order.append("lent")

    def takes() -> None:
        is_lent.wait()
        with turns.taken():
            is_taken.set()
            ends.wait()
            order.append("took it")

    def waits() -> None:
        is_taken.wait()
        with turns.taken():
            order.append("waited")

    threads = [threading.Thread(target=one) for one in (lends, takes, waits)]
    for thread in threads:
        thread.start()
    for queue, event in ((turns._waiting, comes_back), (turns._lenders, ends)):
        while not (is_taken.is_set() and queue):
            time.sleep(0.001)
        event.set()
    for thread in threads:
        thread.join()
    assert order == ["took it", "lent", "waited"]
