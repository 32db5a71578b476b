"""The endpoint over a real server on loopback: what it answers, whom it refuses, and that a new build is seen."""

import contextlib
import hmac
import http.client
import json
import shutil
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pandas as pd
import pytest
import uvicorn
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from sqlalchemy import select
from typer.testing import CliRunner

from pipelines import analyses, metrics, web
from pipelines.analyses import return_probability
from pipelines.cli import app
from pipelines.errors import ServeError
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.metrics.bind import observed
from pipelines.outputs import checkout, serve
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.star import STAR
from tests import any_shop
from tests.conftest import TINY_SHOP, fresh, write_shop
from tests.serving import ask, serving

KEY = "a key that only tests know of"


@dataclass
class Client:
    """Ask a server; `key` is shown unless it is empty."""

    port: int

    def get(self, path: str, key: str = KEY, header: str = "X-API-Key") -> tuple[int, dict[str, Any]]:
        answer = ask(self.port, "GET", path, headers={header: key} if key else {})
        return answer.status, json.loads(answer.body)

    def post(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        answer = ask(self.port, "POST", path, body, {"X-API-Key": KEY, "Content-Type": "application/json"})
        return answer.status, json.loads(answer.body)


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    """Start servers, and stop them at the end."""
    with serving() as started_on:
        yield lambda settings: Client(started_on(serve.application(settings, KEY)))


@pytest.fixture(scope="module")
def sample_client(started: Any, sample_settings: Settings) -> Client:
    client: Client = started(sample_settings)
    return client


@pytest.fixture(scope="module")
def tiny_client(started: Any, tiny_settings: Settings) -> Client:
    client: Client = started(tiny_settings)
    return client


def test_nobody_without_the_key_is_answered(tiny_client: Client) -> None:
    for key in ("", "wrong", KEY + "x", "é"):
        status, body = tiny_client.get("/v1/promise", quote(key))
        assert status == 401
        assert "X-API-Key" in body["error"]
    assert tiny_client.get("/v1/promise", KEY, "Authorization")[0] == 401
    assert tiny_client.get("/v1/promise")[0] == 200
    assert tiny_client.get("/v1/promise", f"Bearer {KEY}", "Authorization")[0] == 200
    assert tiny_client.get("/v1/health", "")[1]["status"] == "ok"
    assert tiny_client.get("/openapi.json", "")[0] == 200


def test_a_monitoring_system_reads_builds_loads_and_checks(tiny_client: Client, tiny_settings: Settings) -> None:
    with urlopen(
        Request(f"http://127.0.0.1:{tiny_client.port}/metrics", headers={"Authorization": f"Bearer {KEY}"})
    ) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        families = {f.name: f for f in text_string_to_metric_families(answer.read().decode())}
    loads = {s.labels["status"]: s.value for s in families["backhaul_loads"].samples}
    assert loads["published"] >= 1
    assert loads["failed"] == 0
    checks = {s.labels["check"]: s.value for s in families["backhaul_check_rows"].samples}
    assert checks["refund_discrepancy"] == 1
    assert families["backhaul_quarantined_rows"].samples[0].value == 0
    made = datetime.fromtimestamp(families["backhaul_build_created_seconds"].samples[0].value, UTC)
    assert abs(datetime.now(UTC) - made) < timedelta(days=1)
    assert tiny_client.get("/metrics", "")[0] == 401


def test_the_promise_is_the_one_of_the_command_line(sample_client: Client, sample_settings: Settings) -> None:
    status, body = sample_client.get("/v1/promise?market=FR&at=0.9")
    assert status == 200
    with current_build(sample_settings.warehouse) as build:
        expected = analyses.offers(build, "refund", 0.9, Question(where={"country": ["FR"]}))
        whole = metrics.answer(build, "promise_at(0.9)", Question(where={"promise_id": ["refund"], "country": ["FR"]}))
    assert [(x["method"], x["possible"], x["n"]) for x in body["lanes"]] == [
        (o.row()["method"], o.row()["possible"], o.n) for o in expected
    ]
    assert [(x["coverage"], x["caution"]) for x in body["lanes"]] == [(o.coverage, o.caution) for o in expected]
    assert any(lane["prices"] for lane in body["lanes"])
    assert whole["unit"].iloc[0] == "business_days" == body["lanes"][0]["unit"]
    run = CliRunner().invoke(
        app,
        ["promise", "--market", "FR", "--at", "0.9", "--format", "json", "--warehouse", str(sample_settings.warehouse)],
    )
    assert [x["possible"] for x in json.loads(run.output)] == [x["possible"] for x in body["lanes"]]


def test_the_coverage_of_a_lane_is_the_metrics_own(started: Any, tmp_path: Path) -> None:
    """Every fifth refund was paid before its goods were back: no such promise can be judged, and its lane says so."""
    shop = any_shop.whole(orders=120, every=pd.Timedelta(hours=18))
    events = shop["return_event"]
    fifth = events["return_line_id"].isin(events["return_line_id"].drop_duplicates().iloc[::5])
    paid = fifth & events["event"].eq("refunded")
    days = pd.to_timedelta(paid * 20, unit="D")
    shop["return_event"] = events.assign(occurred_at=pd.to_datetime(events["occurred_at"]) - days)
    settings = fresh(tmp_path)
    load(settings, any_shop.write(tmp_path / "in", any_shop.Delivery(shop)))
    status, body = started(settings).get("/v1/promise?at=0.9")
    assert status == 200
    with current_build(settings.warehouse) as build:
        last = max(observed(build).values()).date()
        asked = Question(where={"promise_id": ["refund"]}, since=last - timedelta(7 * 13 - 1), until=last)
        own = metrics.answer(build, "promise_at(0.9)", asked, by=("country", "method", "carrier"))
        (whole,) = analyses.offers(build, "refund", 0.9, by_lane=False)
        all_of_them = metrics.answer(build, "promise_at(0.9)", asked).iloc[0]
    covered = own.set_index(["country", "method", "carrier"])["coverage"].to_dict()
    found = {(x["market"], x["method"], x["carrier"]): x["coverage"] for x in body["lanes"]}
    assert found == pytest.approx({lane: covered[lane] for lane in found})
    assert all(x["caution"] == "coverage" for x in body["lanes"] if 0 < x["coverage"] < 0.98)
    assert (whole.coverage, whole.caution) == (pytest.approx(all_of_them["coverage"]), "coverage")
    assert "have no date to judge by" in whole.reason
    assert "between" not in whole.reason


def test_when_a_return_must_be_refunded(tiny_client: Client) -> None:
    """R1 was asked for on Friday 5 December, so due on the 19th.

    Received on the 10th, so promised for the 17th; paid on the 12th.
    """
    status, body = tiny_client.get("/v1/returns/R1/refund-by")
    assert status == 200
    assert body | {"build_id": "", "promises": {}} == {
        "return_id": "shop:R1",
        "refund_by": "2025-12-17T22:59:59Z",
        "legal_refund_by": "2025-12-19T22:59:59Z",
        "promised_refund_by": "2025-12-17T22:59:59Z",
        "refunded_at": "2025-12-12T09:00:00Z",
        "expected_at": None,
        "expected_from": None,
        "expected_to": None,
        "promises": {},
        "build_id": "",
        "observed_until": body["observed_until"],
    }
    assert body["promises"]["legal_refund"] == "kept"
    assert tiny_client.get("/v1/returns/shop:R1/refund-by")[1]["return_id"] == "shop:R1"


@pytest.mark.parametrize(
    ("path", "status", "why"),
    [
        ("/v1/returns/nobody/refund-by", 404, "There is no return nobody"),
        ("/v1/returns/%25/refund-by", 404, "There is no return %"),
        ("/v1/returns/R_/refund-by", 404, "There is no return R_"),
        ("/v1/returns/R1%5C/refund-by", 404, "There is no return R1\\ under"),
        ("/v1/returns/%5C/refund-by", 404, "There is no return \\ under"),
        ("/v1/returns/%00/refund-by", 404, "There is no return"),
        ("/v1/returns/'%3B%20DROP%20TABLE%20x/refund-by", 404, "There is no return"),
        ("/v1/promise?market=XX", 400, "has country 'XX'"),
        ("/v1/promise?promise=moon", 400, "has promise_id 'moon'"),
        ("/v1/promise?at=2", 400, "at=2 is no probability"),
        ("/v1/promise?at=often", 400, "at=often is no probability"),
        ("/v1/promise?country=FR", 400, "There is no parameter country"),
        ("/v2/promise", 404, "There is nothing at /v2/promise"),
    ],
)
def test_what_cannot_be_answered_says_why(tiny_client: Client, path: str, status: int, why: str) -> None:
    found, body = tiny_client.get(path)
    assert (found, why in body["error"]) == (status, True), body


def test_a_new_build_is_seen_and_many_may_ask_meanwhile(started: Any, tmp_path: Path, tiny_settings: Settings) -> None:
    settings = Settings(warehouse=tmp_path / "warehouse")
    for given in (tiny_settings.warehouse, tiny_settings.raw):
        shutil.copytree(given, tmp_path / given.name)
    shutil.copy(tiny_settings.key_file, tmp_path)
    client = started(settings)
    before = client.get("/v1/health")[1]["build_id"]
    event = TINY_SHOP["return_event"][-1] | {
        "event_id": "99",
        "return_line_id": "R9-1",
        "return_id": "R9",
        "order_line_id": "O6-1",
        "event": "requested",
        "occurred_at": "2026-01-20T09:00:00Z",
        "return_type": "withdrawal",
    }
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(client.get, "/v1/returns/R1/refund-by") for _ in range(20)]
        load(settings, [write_shop(tmp_path / "more", {"return_event": [event]})])
        asked += [pool.submit(client.get, "/v1/returns/R1/refund-by") for _ in range(20)]
        answers = [a.result() for a in asked]
    assert {status for status, _ in answers} == {200}
    assert {body["refund_by"] for _, body in answers} == {"2025-12-17T22:59:59Z"}
    assert client.get("/v1/health")[1]["build_id"] != before
    assert client.get("/v1/returns/R9/refund-by")[1]["legal_refund_by"] is None  # nothing was sent yet


def test_a_basket_is_scored_as_the_command_line_scores_it(
    sample_client: Client, sample_settings: Settings, tmp_path: Path
) -> None:
    """A customer by the shop's own id: hashed on the way in, known by what they sent back before."""
    with current_build(sample_settings.warehouse) as build:
        lines = STAR.tables["fact_order_line"].c
        known = build.fetch(select(lines.product_id, lines.country).where(lines.units_sold > 0).limit(3))
    files = [f for f in sample_settings.warehouse.parent.rglob("order_line*") if ".csv" in f.name]
    customer = pd.read_csv(files[0], dtype=str)["customer_id"].value_counts().index[0]
    basket = [
        {"product_id": product, "country": country, "net_amount": 40.0, "order_id": "1", "customer_id": customer}
        for product, country in known.itertuples(index=False, name=None)
    ]
    status, told = sample_client.post("/v1/probability", json.dumps({"lines": basket}).encode())
    assert status == 200, told
    with current_build(sample_settings.warehouse) as build:
        source = next(iter(return_probability.current_models(build)))
        key = sample_settings.key_file.read_bytes()
        hashed = f"{source}:{hmac.new(key, customer.encode(), 'sha256').hexdigest()[:32]}"
        customers = STAR.tables["dim_customer"].c
        assert len(build.fetch(select(customers.customer_key).where(customers.customer_id == hashed).limit(1)))
        own = return_probability.score_lines(build, [line | {"customer_id": hashed} for line in basket])
        strangers = return_probability.score_lines(build, [line | {"customer_id": "nobody"} for line in basket])
    assert [line["probability"] for line in told["lines"]] == pytest.approx([s.probability for s in own])
    assert [s.probability for s in own] != pytest.approx([s.probability for s in strangers])
    assert customer not in json.dumps(told)
    schema = sample_client.get("/openapi.json")[1]["paths"]["/v1/probability"]["post"]
    answered = schema["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    assert set(told) == set(answered)
    assert set(told["lines"][0]) == set(answered["lines"]["items"]["properties"])


def test_a_customer_is_hashed_as_a_load_hashes_them(tmp_path: Path) -> None:
    """Whatever the id is like: an address with capitals, a number, blanks around it."""
    names = ["Anne@Example.org", "17850", "  C 7 ", "gid://shopify/Customer/12"]
    lines = [TINY_SHOP["order_line"][0] | {"order_line_id": f"L{i}", "customer_id": c} for i, c in enumerate(names)]
    settings = fresh(tmp_path)
    load(settings, [write_shop(tmp_path / "in", {"order_line": lines})])
    hashed = checkout.hasher(settings)
    with current_build(settings.warehouse) as build:
        known = set(build.fetch(select(STAR.tables["dim_customer"].c.customer_id))["customer_id"])
    assert known == {hashed("shop", name) for name in names}


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"{", 400, "no JSON"),
        (b"\xff", 400, "no JSON"),
        (b"[]", 400, "lines"),
        (b'{"lines": []}', 400, "no line"),
        (b'{"lines": [3]}', 400, "Line 1 is no object"),
        (b'{"lines": [{"product_id": "a"}]}', 400, "no country"),
        (b'{"lines": [{"product_id": "a", "country": "FR", "net_amount": 1' + b"0" * 400 + b"}]}", 400, "no number"),
        (b'{"lines": [{"product_id": "a", "country": "FR", "net_amount": NaN}]}', 400, "no number"),
        (b'{"lines": [{"product_id": "\\ud800", "country": "FR"}]}', 400, "no text"),
        (b'{"lines": [{"product_id": "' + b"a" * 201 + b'", "country": "FR"}]}', 400, "no text"),
        (b'{"lines": [' + b"{}," * 1000 + b"{}]}", 400, "too many at once"),
        (b"[" * 100_000, 400, "no JSON"),
        (b" " * (3 << 20), 413, "too much at once"),
    ],
)
def test_a_basket_that_cannot_be_read_says_why(sample_client: Client, body: bytes, status: int, why: str) -> None:
    found, told = sample_client.post("/v1/probability", body)
    assert (found, why in told["error"]) == (status, True), told


def test_everything_it_answers_is_described(tiny_client: Client) -> None:
    about = tiny_client.get("/openapi.json", "")[1]
    assert about["openapi"].startswith("3.1")
    schema = about["paths"]["/v1/returns/{return_id}/refund-by"]["get"]["responses"]["200"]["content"][
        "application/json"
    ]["schema"]
    assert set(tiny_client.get("/v1/returns/R1/refund-by")[1]) == set(schema["properties"])
    lane = about["paths"]["/v1/promise"]["get"]["responses"]["200"]["content"]["application/json"]["schema"][
        "properties"
    ]["lanes"]["items"]["properties"]
    found, *_ = tiny_client.get("/v1/promise")[1]["lanes"]
    assert set(found) == set(lane)


def test_what_there_is_to_ask_for_is_described_to_those_who_may_ask(tiny_client: Client) -> None:
    def described(key: str) -> dict[str, dict[str, Any]]:
        about = tiny_client.get("/openapi.json", key)[1]
        return {p["name"]: p["schema"] for p in about["paths"]["/v1/promise"]["get"]["parameters"]}

    shown = described(KEY)
    assert shown["market"]["enum"] == ["", "FR"]  # an empty one is one not given
    assert {"refund", "legal_refund"} <= set(shown["promise"]["enum"])
    assert (shown["at"]["minimum"], shown["at"]["maximum"]) == (0.5, 0.999)
    assert "enum" not in described("")["market"]
    for value in shown["method"]["enum"]:
        assert tiny_client.get(f"/v1/promise?method={quote(value)}")[0] == 200


def test_other_methods_are_told_which_there_are(tiny_client: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", tiny_client.port, timeout=120)
    for method, path, allowed in (("TRACE", "/v1/health", "GET, HEAD"), ("GET", "/v1/probability", "POST")):
        connection.request(method, path, headers={"X-API-Key": KEY})
        answer = connection.getresponse()
        told = json.loads(answer.read())["error"]
        assert (answer.status, sorted(answer.headers["Allow"].split(", "))) == (405, allowed.split(", "))
        assert answer.headers["Allow"] in told
    connection.close()


def test_the_key_is_made_once_and_is_nobody_elses(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path / "warehouse")
    key, is_new = serve.key_of(settings)
    assert is_new
    assert len(key) >= 32
    assert serve.key_of(settings) == (key, False)
    assert stat.S_IMODE(settings.serve_key_file.stat().st_mode) == 0o600
    settings.serve_key_file.write_text("short")
    with pytest.raises(ServeError, match="too short"):
        serve.key_of(settings)


def test_other_machines_are_let_in_only_when_that_is_said() -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        web.check_host(host, is_public=False)
    for host in ("0.0.0.0", "192.168.1.2", "shop.example"):
        with pytest.raises(ServeError, match="--public"):
            web.check_host(host, is_public=False)
        web.check_host(host, is_public=True)


def test_answers_are_kept_by_nobody(tiny_client: Client) -> None:
    for path, method in (
        ("/v1/health", "GET"),
        ("/v1/promise", "GET"),
        ("/v1/returns/R1/refund-by", "GET"),
        ("/v2", "GET"),
        ("/v1/health", "POST"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", tiny_client.port, timeout=120)
        connection.request(method, path)
        headers = connection.getresponse().headers
        connection.close()
        assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
        assert headers["Content-Type"].partition(";")[0] == "application/json"


def test_asking_changes_nothing(tiny_client: Client, tiny_settings: Settings) -> None:
    def held() -> list[tuple[str, int, int]]:
        files = (p for p in tiny_settings.warehouse.parent.rglob("*") if p.is_file())
        return sorted((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)

    before = held()
    for path in ("/v1/health", "/v1/promise", "/v1/returns/R1/refund-by", "/metrics", "/openapi.json", "/nothing"):
        connection = http.client.HTTPConnection("127.0.0.1", tiny_client.port, timeout=120)
        connection.request("GET", path, headers={"X-API-Key": KEY})
        connection.getresponse().read()
        connection.close()
    assert held() == before


def test_health_waits_for_no_question(tiny_settings: Settings) -> None:
    reader = serve.Reader(tiny_settings)
    before = reader.about()
    is_asked, may_end = threading.Event(), threading.Event()

    def slow(_build: Any) -> dict[str, Any]:
        is_asked.set()
        assert may_end.wait(120)
        return {"n": 1}

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(reader.ask, "slow", slow)
        assert is_asked.wait(120)
        assert reader.about() == before  # in the middle of it
        assert reader.known("slow") is None
        may_end.set()
        assert asked.result(120) == {"n": 1, **before}
    assert reader.known("slow") == {"n": 1, **before}
    assert reader.ask("slow", lambda _: pytest.fail("the answer of this build is known")) == {"n": 1, **before}
    reader.close()


@contextlib.contextmanager
def served(settings: Settings, *, asked_before: Callable[[int], None] = lambda port: None) -> Iterator[int]:
    """Serve as `backhaul serve` does and give the port; `asked_before` may call while nobody is taken in yet."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(serve.application(settings, KEY), **web.options("127.0.0.1", port)))
        asked_before(port)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join(120)
        assert not thread.is_alive()


WHOLE = b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n"


def wait_for_the_end(caller: socket.socket) -> None:
    """Read until the server ends the connection: one that it keeps is waited for in vain."""
    caller.settimeout(120)
    with contextlib.suppress(ConnectionResetError):
        while caller.recv(4096):
            pass


def test_a_request_that_does_not_come_ends_its_connection(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "REQUEST_SECONDS", 0.5)
    with served(tiny_settings) as port:
        for sent in (
            b"",
            WHOLE[:-2],
            WHOLE + WHOLE[:10],
            WHOLE.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\nab"),
        ):
            with socket.create_connection(("127.0.0.1", port), 120) as caller:
                caller.sendall(sent)
                wait_for_the_end(caller)
        assert Client(port).get("/v1/health")[0] == 200


def test_connections_that_only_wait_make_room(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-sent requests by the dozen, before and after: the first are closed, and who asks is answered."""
    monkeypatch.setattr(web, "REQUEST_SECONDS", 3600)  # no connection ends of itself
    monkeypatch.setattr(web, "MOST_CONNECTIONS", 20)
    with contextlib.ExitStack() as held:

        def call(port: int, sent: bytes) -> socket.socket:
            caller = held.enter_context(socket.create_connection(("127.0.0.1", port), 120))
            caller.sendall(sent)
            return caller

        honest: list[socket.socket] = []

        def rush(port: int) -> None:
            honest.append(call(port, WHOLE))
            for _ in range(web.MOST_CONNECTIONS + 50):
                call(port, WHOLE[:-2])

        with served(tiny_settings, asked_before=rush) as port:
            assert honest[0].recv(4096).startswith(b"HTTP/1.1 200")
            idle = [call(port, WHOLE[:-2]) for _ in range(web.MOST_CONNECTIONS + 50)]
            assert Client(port).get("/v1/health", "")[0] == 200
            for caller in idle[:51]:
                wait_for_the_end(caller)
            last = idle[-1]
            last.sendall(b"\r\n")
            assert last.recv(4096).startswith(b"HTTP/1.1 200")


def test_more_questions_than_are_answered_at_once_are_told_to_come_back(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_asked, may_end = threading.Event(), threading.Event()

    def slow(*_: Any) -> dict[str, Any]:
        is_asked.set()
        assert may_end.wait(120)
        return {"lanes": []}

    monkeypatch.setattr(serve, "promise", slow)
    monkeypatch.setattr(web, "MOST_CONNECTIONS", 1)
    with served(tiny_settings) as port, ThreadPoolExecutor(1) as pool:
        answered = pool.submit(Client(port).get, "/v1/promise")
        assert is_asked.wait(120)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("GET", "/v1/returns/R1/refund-by", headers={"X-API-Key": KEY})
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert (answer.headers["Cache-Control"], answer.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
        assert "Ask again" in json.loads(answer.read())["error"]
        connection.close()
        assert Client(port).get("/v1/health", "")[0] == 200
        may_end.set()
        assert answered.result(120)[0] == 200
        assert Client(port).get("/v1/returns/R1/refund-by")[0] == 200


def test_what_is_no_http_is_answered_in_the_same_form(tiny_settings: Settings) -> None:
    with served(tiny_settings) as port, socket.create_connection(("127.0.0.1", port), 120) as caller:
        caller.sendall(b"\x16\x03 hello\r\n\r\n")
        answer = http.client.HTTPResponse(caller)
        answer.begin()
        assert answer.status == 400
        assert (answer.headers["Cache-Control"], answer.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
        assert "error" in json.loads(answer.read())
