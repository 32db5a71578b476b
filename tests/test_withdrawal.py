"""The log of the withdrawal function: declarations, their acknowledgements, and what is promised of them."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from pipelines import metrics
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.people import policies
from pipelines.people.policy_text import Policy, Promise
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.star import STAR
from tests.conftest import fresh

pytestmark = pytest.mark.usefixtures("no_rules")

ORDERS = (
    "order_line_id,order_id,product_id,units,net_amount,vat_amount,ordered_at,country,currency,policy_id\n"
    + "".join(f"L{n},O{n},P1,1,50,10,2026-06-25T10:00:00Z,FR,EUR,p\n" for n in range(1, 6))
)
EVENTS = """event_id,return_line_id,return_id,order_line_id,event,occurred_at,units,return_type
1,R1-1,R1,L1,declared,2026-07-01T20:00:00Z,1,withdrawal
2,R1-1,R1,L1,acknowledged,2026-07-01T22:00:00Z,1,withdrawal
3,R2-1,R2,L2,declared,2026-07-01T20:00:00Z,1,withdrawal
4,R2-1,R2,L2,acknowledged,2026-07-03T02:00:00Z,1,withdrawal
5,R3-1,R3,L3,declared,2026-07-02T20:00:00Z,1,withdrawal
6,R4-1,R4,L4,requested,2026-07-02T20:00:00Z,1,withdrawal
7,R5-1,R5,L5,declared,2026-07-01T20:00:00Z,1,withdrawal
8,R5-1,R5,L5,requested,2026-07-04T09:00:00Z,1,withdrawal
9,R5-1,R5,L5,acknowledged,2026-07-01T20:00:01Z,1,withdrawal
10,R5-1,R5,L5,handed_over,2026-07-05T09:00:00Z,1,withdrawal
11,R5-1,R5,L5,received,2026-07-08T09:00:00Z,1,withdrawal
12,R5-1,R5,L5,refunded,2026-07-08T09:00:00Z,1,withdrawal
"""
POLICY = """policy_id,valid_from,promise_id,from_stage,to_stage,duration,duration_unit,responsible,window_days
p,2026-01-01T00:00:00Z,answer,declared,acknowledged,24,clock_hours,retailer,30
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = fresh(tmp_path_factory.mktemp("withdrawal"))
    folder = settings.warehouse.parent / "files"
    folder.mkdir()
    for thing, text in (("order_line", ORDERS), ("return_event", EVENTS), ("policy", POLICY)):
        (folder / f"{thing}.csv").write_text(text)
    load(settings, [folder])
    return settings


def test_an_acknowledgement_is_promised_to_those_who_declared(shop: Settings) -> None:
    with current_build(shop.warehouse) as build:
        states = metrics.answer(build, "promise_kept", Question(where={"promise_id": ["answer"]})).iloc[0]
        rows = metrics.rows(build, "promise_kept", Question(where={"promise_id": ["answer"]}), part="denominator")
    # T is 8 July 09:00. 1 answered after 2 hours, 5 after a second: kept. 2 after 30 hours, 3 never: broken. 4 was
    # requested by e-mail: no declaration, nothing promised of it.
    assert (states["value"], states["n"]) == (0.5, 4)
    assert dict(zip(rows["return_id"].str[-2:], rows["state"], strict=True)) == {
        "R1": "kept",
        "R2": "broken",
        "R3": "broken",
        "R5": "kept",
    }


def test_the_declaration_is_the_notice(shop: Settings) -> None:
    lots, promises = STAR.tables["fact_return_line"].c, STAR.tables["estimate_promise"].c
    with current_build(shop.warehouse) as build:
        from sqlalchemy import select

        found = build.fetch(select(lots.return_id, lots.declared_at, lots.requested_at, lots.acknowledged_at))
        legal = build.fetch(select(promises.return_id, promises.due_at).where(promises.promise_id == "legal_refund"))
    five = found.set_index(found["return_id"].str[-2:]).loc["R5"]
    # the portal's request came on the 4th, the declaration on the 1st: the fourteen days run from the 1st
    assert str(five["requested_at"]) == "2026-07-01 20:00:00"
    assert str(five["declared_at"]) == "2026-07-01 20:00:00"
    due = legal.set_index(legal["return_id"].str[-2:])["due_at"]
    assert str(due["R5"]).startswith("2026-07-15 2")  # 15 July ends at 22:00 UTC in Paris, at midnight in UTC
    four = found.set_index(found["return_id"].str[-2:]).loc["R4"]
    assert four[["declared_at", "acknowledged_at"]].isna().all()


def test_a_policy_since_the_function_says_within_how_long(tmp_path: Path) -> None:
    refund = Promise("refund", "received", "refunded", 5, "business_days")
    since = Policy("p", date(2026, 6, 19), 30, market="FR", promises=(refund,))

    def told(policy: Policy) -> list[str]:
        return [p.sentence for p in policies.problems(policy) if "acknowledged" in p.sentence]

    assert len(told(since)) == 1
    assert not [p for p in policies.problems(since) if p.is_error]
    assert told(replace(since, valid_from=date(2026, 6, 18))) == []  # the day before it applied
    assert told(replace(since, channel="store")) == []
    assert told(replace(since, market="GB")) == []
    answer = Promise("answer", "declared", "acknowledged", 4, "clock_hours")
    assert told(replace(since, promises=(refund, answer))) == []
