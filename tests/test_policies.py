"""Return policies: whom they are for, what is wrong with them, and that publishing one never changes the past."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml
from sqlalchemy import select
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.errors import PolicyError
from pipelines.load import load
from pipelines.people import policies, policy_text
from pipelines.people.policy_text import Policy, Promise
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_build, current_id
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from tests.conftest import TINY_SHOP, write_shop

pytestmark = pytest.mark.usefixtures("no_rules")

runner = CliRunner()
GOOD = Policy(
    "web-FR",
    date(2026, 3, 1),
    30,
    "FR",
    methods=("drop_off", "store"),
    refund_trigger="inspected",
    promises=(
        Promise("refund", "received", "refunded", 5, "business_days"),
        Promise("transit", "carrier_scan", "received", 4, "carrier_days", "carrier"),
    ),
)


def test_a_policy_reads_back_as_it_was_written() -> None:
    whole = replace(
        GOOD, fee_amount=2.5, currency="EUR", window_until=date(2027, 1, 31), loyalty_tier="gold", exception="hygiene"
    )
    assert policy_text.parse(policy_text.text(whole)) == [whole]
    assert policy_text.parse(policy_text.text(GOOD) + "---\n" + policy_text.text(whole)) == [GOOD, whole]
    assert policies.problems(GOOD) == []


def test_canonical_rows_read_as_policies(tmp_path: Path) -> None:
    (tmp_path / "policy.csv").write_text(
        "policy_id,valid_from,market,window_days,methods,promise_id,from_stage,to_stage,duration,duration_unit,responsible\nP,2026-03-01T00:00:00Z,FR,30,drop_off"
        " store,refund,received,refunded,5,business_days,retailer\nP,2026-03-01T00:00:00Z,FR,30,drop_off"
        " store,whole,requested,refunded,14,calendar_days,\n"
    )
    (found,) = policy_text.read(tmp_path / "policy.csv")
    assert (found.policy_id, found.valid_from, found.methods) == ("P", date(2026, 3, 1), ("drop_off", "store"))
    assert [p.promise_id for p in found.promises] == ["refund", "whole"]
    assert found.promises[1].responsible == "retailer"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("policy_id: P\nwindow_days: 30\n", "policy: valid_from is missing"),
        ("policy_id: P\nvalid_from: soon\nwindow_days: 30\n", "valid_from is 'soon'; write a day"),
        ("policy_id: P\nvalid_from: 2026-03-01\nwindow_days: a month\n", "window_days is 'a month'; write a number"),
        ("policy_id: P\nvalid_from: 2026-03-01\nwindow_days: 2.5\n", "write whole days"),
        ("policy_id: P\nvalid_from: 2026-03-01\nwindow_days: 30\nwindow: 3\n", "a policy has no window. It has"),
        ("policy_id: [\n", "policy line 2: not YAML"),
        ("- a\n- b\n", "a policy is a list of"),
        (
            "policy_id: P\nvalid_from: 2026-03-01\nwindow_days: 30\npromises: {refund: 5}\n",
            "the promise refund has from, to, within and unit",
        ),
    ],
)
def test_what_cannot_be_read_says_where_and_what_to_write(text: str, why: str) -> None:
    with pytest.raises(PolicyError, match=why.replace("(", r"\(")):
        policy_text.parse(text)


@pytest.mark.parametrize(
    ("policy", "where", "why"),
    [
        (replace(GOOD, window_days=-1), "window_days", "0 or more"),
        (replace(GOOD, window_days=10), "window_days", "fewer than the 14"),
        (replace(GOOD, market="fra"), "market", "two capitals"),
        (replace(GOOD, methods=("pigeon",)), "methods", "'pigeon' is no method"),
        (replace(GOOD, refund_trigger="hope"), "refund_trigger", "'hope' starts no refund"),
        (replace(GOOD, exception="moody"), "exception", "final_sale, hygiene"),
        (replace(GOOD, fee_amount=3.0), "currency", "missing"),
        (replace(GOOD, window_until=date(2026, 1, 1)), "window_until", "before the version begins"),
        (replace(GOOD, promises=()), "promises", "at least one"),
        (replace(GOOD, promises=(GOOD.promises[0], GOOD.promises[0])), "promise refund", "stands twice"),
        (
            replace(GOOD, promises=(Promise("x", "received", "gone", 1, "business_days"),)),
            "promise x",
            "'gone' is no stage",
        ),
        (
            replace(GOOD, promises=(Promise("x", "refunded", "received", 1, "business_days"),)),
            "promise x",
            "which comes first",
        ),
        (
            replace(GOOD, promises=(Promise("x", "received", "refunded", 1, "moons"),)),
            "promise x",
            "'moons' is no unit",
        ),
        (
            replace(GOOD, promises=(Promise("x", "received", "refunded", -1, "business_days"),)),
            "promise x",
            "0 or more",
        ),
        (
            replace(GOOD, promises=(Promise("x", "received", "refunded", 1, "business_days", "nobody"),)),
            "promise x",
            "keeps no promise",
        ),
        (
            replace(GOOD, methods=("store",), promises=(Promise("x", "carrier_scan", "received", 1, "business_days"),)),
            "promise x",
            "ever reaches carrier_scan",
        ),
        (
            replace(GOOD, promises=(Promise("x", "requested", "refunded", 20, "calendar_days"),)),
            "promise x",
            "undercuts the law",
        ),
    ],
)
def test_what_is_wrong_is_named(policy: Policy, where: str, why: str) -> None:
    assert any(p.is_error and p.where == where and why in p.sentence for p in policies.problems(policy))


def test_the_law_is_for_distance_sales_in_the_union_and_leaves_exceptions_alone() -> None:
    short = replace(GOOD, window_days=7)
    assert [p.where for p in policies.problems(short)] == ["window_days"]
    assert policies.problems(replace(short, channel="store")) == []
    assert policies.problems(replace(short, market="CH")) == []
    assert policies.problems(replace(short, exception="hygiene")) == []
    slow = replace(GOOD, promises=(Promise("refund", "received", "refunded", 8, "business_days"),))
    assert [p.is_error for p in policies.problems(slow)] == [False]


def windows_of(build: Build) -> dict[str, int]:
    c = STAR.tables["fact_order_line"].c
    found = build.fetch(select(c.order_line_id, c.window_days))
    return dict(zip(found["order_line_id"], found["window_days"], strict=True))


def day_after_orders(settings: Settings) -> date:
    with current_build(settings.warehouse) as build:
        return policies.earliest(build, GOOD)


def test_publishing_is_a_load_and_leaves_the_past_alone(copy_of_tiny: Settings, tmp_path: Path) -> None:
    first = day_after_orders(copy_of_tiny)
    assert first == date(2026, 1, 11)  # the last order is of 10 January
    with current_build(copy_of_tiny.warehouse) as build:
        old = policies.published(build, "P")
        new = replace(old, valid_from=first, window_days=60, market="FR")
        with pytest.raises(PolicyError, match=r"would rewrite the past.*2026-01-11 or later"):
            policies.publish(copy_of_tiny, [replace(new, valid_from=first - timedelta(days=1))], build)
        report = policies.publish(copy_of_tiny, [new], build)
    assert report.is_new_build
    assert [(c["table"], c["read"], c["accepted"]) for c in report.counts] == [("policy", 2, 2)]
    order = TINY_SHOP["order_line"][0] | {
        "order_line_id": "N-1",
        "order_id": "N",
        "ordered_at": "2026-01-12T10:00:00Z",
        "shipped_at": "2026-01-13T10:00:00Z",
        "delivered_at": "2026-01-14T10:00:00Z",
    }
    load(copy_of_tiny, [write_shop(tmp_path / "later", {"order_line": [order]})])
    with current_build(copy_of_tiny.warehouse) as build:
        windows = windows_of(build)
        assert windows.pop("shop:N-1") == 60
        assert set(windows.values()) == {30}
        found = policies.versions(build)
        assert list(found["valid_from"]) == [first, date(2025, 1, 1)]
        assert list(found["order_lines"]) == [1, 8]
        assert policies.compare(
            policies.published(build, "P", date(2025, 6, 1)), policies.published(build, "shop:P")
        ) == [
            ("valid_from", "2025-01-01", "2026-01-11"),
            ("window_days", "30", "60"),
            ("market", "", "FR"),
        ]
        again = policies.publish(copy_of_tiny, [replace(new, valid_from=date(2026, 1, 13))], build)
    assert again.is_new_build


def test_the_narrowest_policy_holds_by_the_time_of_the_order(settings: Settings, tmp_path: Path) -> None:
    """Of a plain policy, one for dresses and one for the gold tier, gold before category.

    An exception is a policy like others.
    """
    promise = {
        "promise_id": "refund",
        "from_stage": "received",
        "to_stage": "refunded",
        "duration": "5",
        "duration_unit": "business_days",
    }
    begin = {
        "valid_from": "2025-01-01T00:00:00Z",
        "window_days": "30",
        "category": "",
        "loyalty_tier": "",
        "exception": "",
        "refund_trigger": "",
        **promise,
    }
    shop = {t: TINY_SHOP[t] for t in ("shop", "product")}
    shop["policy"] = [
        begin | {"policy_id": "plain"},
        begin | {"policy_id": "dresses", "category": "dresses", "window_days": "14"},
        begin | {"policy_id": "gold", "loyalty_tier": "gold", "window_days": "90", "refund_trigger": "carrier_scan"},
        begin
        | {
            "policy_id": "shoes",
            "category": "footwear",
            "valid_from": "2025-12-06T00:00:00Z",
            "window_days": "0",
            "exception": "final_sale",
        },
    ]
    tiers = {"O1-1": "gold", "O1-2": "silver"}
    shop["order_line"] = [
        line | {"loyalty_tier": tiers.get(line["order_line_id"], "")} for line in TINY_SHOP["order_line"]
    ]
    load(settings, [write_shop(tmp_path / "files", shop)])
    with current_build(settings.warehouse) as build:
        windows = windows_of(build)
        assert (windows["shop:O1-1"], windows["shop:O1-2"]) == (90, 14)
        assert (windows["shop:O2-1"], windows["shop:O4-1"]) == (30, 0)  # ordered on 5 and 15 December
        assert policies.published(build, "gold").refund_trigger == "carrier_scan"
        assert policies.published(build, "shoes").exception == "final_sale"


def test_each_line_has_the_policy_that_comparing_it_with_all_of_them_gives(settings: Settings, tmp_path: Path) -> None:
    """60 policies of 240 versions that change whom they are for, over 900 lines of a year.

    Against every version compared with every line.
    """
    rng = np.random.default_rng(5)
    markets, channels, categories, tiers = ["FR", "DE", ""], ["web", "app", ""], ["c0", "c1", "c2", ""], ["gold", ""]

    def drawn(values: list[str], count: int) -> list[str]:
        return [str(v) for v in rng.choice(values, count)]

    def instants(count: int) -> list[str]:
        return [
            f"{datetime(2024, 1, 1) + timedelta(hours=int(h)):%Y-%m-%dT%H:%M:%SZ}" for h in rng.integers(0, 8760, count)
        ]

    lines, versions = 900, 240
    pd.DataFrame(
        {
            "product_id": ["p0", "p1", "p2", "p3"],
            "valid_from": "2020-01-01T00:00:00Z",
            "category": ["c0", "c1", "c2", ""],
        }
    ).to_csv(tmp_path / "product.csv", index=False)
    pd.DataFrame(
        {
            "order_line_id": range(lines),
            "order_id": range(lines),
            "ordered_at": instants(lines),
            "product_id": drawn(["p0", "p1", "p2", "p3"], lines),
            "units": 1,
            "net_amount": 10,
            "currency": "EUR",
            "country": drawn(["FR", "DE", "ES"], lines),
            "channel": drawn(["web", "app", "phone"], lines),
            "loyalty_tier": drawn(["gold", "silver", ""], lines),
        }
    ).to_csv(tmp_path / "order_line.csv", index=False)
    pd.DataFrame(
        {
            "policy_id": [f"P{i % 60}" for i in range(versions)],
            "valid_from": instants(versions),
            "market": drawn(markets, versions),
            "channel": drawn(channels, versions),
            "category": drawn(categories, versions),
            "loyalty_tier": drawn(tiers, versions),
            "window_days": 30,
            "promise_id": "refund",
            "from_stage": "received",
            "to_stage": "refunded",
            "duration": 5,
            "duration_unit": "business_days",
        }
    ).to_csv(tmp_path / "policy.csv", index=False)
    load(settings, [tmp_path / n for n in ("product.csv", "order_line.csv", "policy.csv")])
    fits = " AND ".join(
        f"(p.{a} IS NULL OR p.{a} = o.{b})"
        for a, b in (
            ("market", "country"),
            ("channel", "channel"),
            ("category", "category"),
            ("loyalty_tier", "loyalty_tier"),
        )
    )
    rank = (
        "(p.loyalty_tier IS NOT NULL)::INT * 8 + (p.category IS NOT NULL)::INT * 4 + (p.market IS NOT NULL)::INT * 2 +"
        " (p.channel IS NOT NULL)::INT"
    )
    build = duckdb.connect(str(build_path(settings.warehouse, current_id(settings.warehouse) or "")), read_only=True)
    compared = build.execute(f"""
        SELECT count(*), count(policy_key), count(*) FILTER (policy_key IS DISTINCT FROM best) FROM (
            SELECT o.order_line_key, any_value(o.policy_key) AS policy_key, arg_max(p.policy_key, ({rank}, p.valid_from,
                p.policy_id)) AS best
            FROM fact_order_line o LEFT JOIN dim_policy p ON {fits} AND o.ordered_at >= p.valid_from
                AND (p.valid_to IS NULL OR o.ordered_at < p.valid_to) GROUP BY 1)
    """).fetchall()[0]
    build.close()
    assert compared[0] == lines
    assert compared[1] > 800
    assert compared[2] == 0


def test_a_policy_of_nobody_and_a_day_before_it_are_refused(tiny_settings: Settings) -> None:
    with current_build(tiny_settings.warehouse) as build:
        with pytest.raises(PolicyError, match=r"There is no policy 'nobody'\. There are: shop:P"):
            policies.published(build, "nobody")
        with pytest.raises(PolicyError, match="begins after 2020-01-01"):
            policies.published(build, "P", date(2020, 1, 1))


def test_drafts_are_kept_right_or_wrong(copy_of_tiny: Settings) -> None:
    number = policies.save_draft(copy_of_tiny, "policy_id: half")
    policies.save_draft(copy_of_tiny, "policy_id: half a\n", number)
    assert list(policies.drafts(copy_of_tiny)["text"]) == ["policy_id: half a\n"]
    policies.end_draft(copy_of_tiny, number, "withdrawn")
    assert policies.drafts(copy_of_tiny).empty


def run(settings: Settings, *words: str, code: int = 0) -> str:
    done = runner.invoke(app, ["policy", *words, "--warehouse", str(settings.warehouse)])
    assert done.exit_code == code, done.output
    return done.output


def test_the_command_line_goes_all_the_way(copy_of_tiny: Settings, tmp_path: Path) -> None:
    assert "business days" in run(copy_of_tiny, "list", "--format", "csv")
    assert "shop:P" in run(copy_of_tiny, "list", "--current")
    file = tmp_path / "P.yaml"
    file.write_text(run(copy_of_tiny, "show", "P", "--new"), encoding="utf-8")
    given = yaml.safe_load(file.read_text())
    assert (given["policy_id"], str(given["valid_from"])) == ("P", "2026-01-11")
    file.write_text(file.read_text().replace("window_days: 30", "window_days: 7"), encoding="utf-8")
    assert "fewer than the 14" in " ".join(run(copy_of_tiny, "check", str(file), "--format", "csv", code=1).split())
    file.write_text(file.read_text().replace("window_days: 7", "window_days: 45"), encoding="utf-8")
    assert "nothing is wrong" in run(copy_of_tiny, "check", str(file))
    assert "window_days,30,45" in run(copy_of_tiny, "compare", "P", str(file), "--format", "csv")
    assert "orders from 2026-01-11 on" in run(copy_of_tiny, "publish", str(file))
    assert "window_days,30,45" in run(copy_of_tiny, "compare", "P", "2025-06-01", "--format", "csv")


def test_a_line_keeps_the_policy_of_its_own_time(settings: Settings, tmp_path: Path) -> None:
    """A category that is renamed, a customer who rises and one who moves leave the policy of past orders alone.

    Without dates in the product file the exports tell when the name changed.
    """
    promise = {"promise_id": "refund", "from_stage": "received", "to_stage": "refunded", "duration": "5"}
    begin = {
        "valid_from": "2025-01-01T00:00:00Z",
        **{"market": "", "category": "", "loyalty_tier": ""},
        **promise,
        "duration_unit": "business_days",
    }
    policy = [
        begin | {"policy_id": "plain", "window_days": "30"},
        begin | {"policy_id": "shoes", "category": "shoes", "window_days": "14"},
        begin | {"policy_id": "gold", "loyalty_tier": "gold", "window_days": "90"},
        begin | {"policy_id": "belgium", "market": "BE", "window_days": "21"},
        begin | {"policy_id": "hats", "category": "headwear", "window_days": "7"},
        begin | {"policy_id": "sale", "category": "sale", "window_days": "3"},
    ]

    def products(**category: str) -> list[dict[str, str]]:
        return [{"product_id": p, "valid_from": "2025-01-01T00:00:00Z", "category": c} for p, c in category.items()]

    def line(key: str, day: str, product: str, tier: str = "", country: str = "FR") -> dict[str, str]:
        return {
            "order_line_id": key,
            "order_id": key,
            "ordered_at": f"2025-{day}T10:00:00Z",
            "product_id": product,
            "units": "1",
            "net_amount": "10",
            "currency": "EUR",
            "country": country,
            "channel": "web",
            "loyalty_tier": tier,
        }

    old = [line("A", "03-01", "boot"), line("B", "03-01", "shirt"), line("C", "03-01", "shirt", country="FR")]
    old += [line("D", "03-01", "cap"), line("E", "03-01", "shirt", "gold"), line("F", "03-01", "coat")]
    first = {
        "policy": policy,
        "product": products(boot="shoes", shirt="tops", cap="hats", coat="tops"),
        "order_line": old,
    }
    moved = [line("A", "03-01", "boot"), line("B", "03-01", "shirt", "gold"), line("C", "03-01", "shirt", country="BE")]
    moved += [line("D", "03-01", "cap"), line("E", "03-01", "shirt"), line("F", "03-01", "coat")]
    new = [line("G", "06-01", "boot"), line("H", "06-01", "shirt", "gold"), line("I", "06-01", "coat")]
    second = {
        "product": products(boot="footwear", shirt="tops", cap="headwear", coat="sale"),
        "order_line": [*moved, *new],
    }
    load(settings, [write_shop(tmp_path / "march", first)], exported_at=datetime(2025, 3, 10))
    load(settings, [write_shop(tmp_path / "june", second)], exported_at=datetime(2025, 6, 10))
    with current_build(settings.warehouse) as build:
        windows = {key.removeprefix("shop:"): days for key, days in windows_of(build).items()}
        found = build.fetch(
            select(
                STAR.tables["fact_order_line"].c.order_line_id,
                STAR.tables["fact_order_line"].c.category,
                STAR.tables["fact_order_line"].c.loyalty_tier,
            )
        )
    # A was shoes, B had no tier, C was sold in France, E was gold; hats, which no policy ever named,
    # all became headwear.
    # F was a top: only some tops became sale, so that is another category and no other name.
    assert {k: windows[k] for k in "ABCDEF"} == {"A": 14, "B": 30, "C": 30, "D": 7, "E": 90, "F": 30}
    # Since then: footwear has no policy of its own, and the second export came after these orders.
    assert {k: windows[k] for k in "GHI"} == {"G": 14, "H": 90, "I": 30}
    named = found.set_index("order_line_id")
    assert named.loc["shop:A", "category"] == "footwear"  # what numbers are cut by follows the new name
    assert named.loc["shop:E", "loyalty_tier"] == "gold"
