"""A warehouse against a model of a few lines.

Whatever is loaded, edited, replayed, taken back, brought back and forgotten, facts are the model's.
"""

import os
import shutil
import tempfile
from pathlib import Path

import duckdb
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from pipelines.load import load, withdraw
from pipelines.people.forget import forget
from pipelines.settings import Settings
from pipelines.warehouse import state
from pipelines.warehouse.build import build_path, current_id
from tests.conftest import FUZZ

HEAD = "order_line_id,order_id,ordered_at,product_id,units,net_amount,currency,country,customer_id\n"
Rows = dict[int, int]  # number of a line -> its amount
ROWS = st.dictionaries(st.integers(1, 4), st.integers(1, 3), min_size=1, max_size=3)


class Warehouse(RuleBasedStateMachine):
    """The model: loads in the order they came, each with what it says of lines. What is said later counts."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.settings = Settings(warehouse=self.folder / "warehouse", threads=1)
        self.loads: list[tuple[str, Rows]] = []  # those that are in
        self.gone: list[Rows] = []
        self.files = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def _deliver(self, rows: Rows, *, is_judged_only: bool) -> None:
        """Load a file: one of the same content as a load that is in says nothing new."""
        self.files += 1
        file = self.folder / f"order_line.{self.files}.csv"
        file.write_text(
            HEAD + "".join(f"{n},o{n},2025-01-02T10:00:00Z,P1,1,{a}.00,EUR,FR,customer-{n}\n" for n, a in rows.items())
        )
        os.utime(file, (1.75e9, 1.75e9))  # of one date: the order of landing tells
        before = self._ids()
        report = load(self.settings, [file], is_trial=is_judged_only)
        fresh = self._ids() - before
        is_known = rows in [known for _, known in self.loads]
        assert bool(report.skipped) == is_known
        assert len(fresh) == (not is_known)
        self.loads += [(load_id, rows) for load_id in fresh]
        if not is_judged_only:
            self._compare()

    def _ids(self) -> set[str]:
        state_file = state.State(self.settings.warehouse)
        try:
            return set(state_file.statuses())
        finally:
            state_file.close()

    def _compare(self) -> None:
        expected = {n: a for _, rows in self.loads for n, a in rows.items()}
        build_id = current_id(self.settings.warehouse)
        if build_id is None:  # what was judged was taken back before a build held it
            assert not expected
            return
        path = build_path(self.settings.warehouse, build_id)
        with duckdb.connect(str(path), read_only=True) as connection:
            found = connection.execute("SELECT order_line_id, net_amount FROM fact_order_line").fetchall()
        assert sorted((int(n.removeprefix("shop:")), int(a)) for n, a in found) == sorted(expected.items())

    @rule(rows=ROWS, is_judged_only=st.booleans())
    def deliver(self, rows: Rows, is_judged_only: bool) -> None:
        """Load a new file."""
        self._deliver(dict(sorted(rows.items())), is_judged_only=is_judged_only)

    @precondition(lambda self: self.loads)
    @rule(data=st.data(), amount=st.integers(4, 6))
    def edit(self, data: st.DataObject, amount: int) -> None:
        """Load a file again in which one amount is another."""
        _, rows = data.draw(st.sampled_from(self.loads))
        self._deliver(rows | {data.draw(st.sampled_from(sorted(rows))): amount}, is_judged_only=False)

    @precondition(lambda self: self.loads)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Load a file again as it was."""
        self._deliver(data.draw(st.sampled_from(self.loads))[1], is_judged_only=True)

    @precondition(lambda self: self.loads)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        """Withdraw a load."""
        taken = data.draw(st.sampled_from(self.loads))
        withdraw(self.settings, taken[0])
        self.loads.remove(taken)
        self.gone.append(taken[1])
        self._compare()

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def bring_back(self, data: st.DataObject) -> None:
        """Load the file of a load again that was withdrawn."""
        self._deliver(data.draw(st.sampled_from(self.gone)), is_judged_only=False)

    @precondition(lambda self: self.loads)
    @rule(data=st.data())
    def forget_one(self, data: st.DataObject) -> None:
        """Forget the customer of a line: the line stays."""
        number = data.draw(st.sampled_from(sorted({n for _, rows in self.loads for n in rows})))
        done = forget(self.settings, f"customer-{number}")
        assert (done.found, done.left) == (0, ())
        self._compare()

    @precondition(lambda self: self.loads)
    @rule()
    def finish(self) -> None:
        """Load without a path."""
        load(self.settings)
        self._compare()


Warehouse.TestCase.settings = settings(
    max_examples=2 * FUZZ,
    stateful_step_count=6,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
TestWarehouse = Warehouse.TestCase
