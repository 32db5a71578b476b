"""Pulling from a shop system and a carrier: faults at every call, interruptions, what is new, keys and addresses."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import PullError
from pipelines.load import load
from pipelines.pull import pull_dhl, pull_objects, pull_shopify
from pipelines.pull import shopify as shopify_module
from pipelines.pull.client import Client, asked_wait, checked, key_of
from pipelines.settings import Settings
from tests.conftest import ends
from tests.interfaces import KINDS, NOW, TOKEN, Carrier, Faults, Shop, bucket, served


class Waits(list[float]):
    """Seconds that a client was asked to wait; none is waited."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


def client(address: str, waits: Waits, key: str = TOKEN) -> Client:
    return Client(address, {"X-Shopify-Access-Token": key, "DHL-API-Key": key}, waits)


def pulled(folder: Path, shop: Shop, waits: Waits, **given: Any) -> list[Path]:
    with served(shop) as address:
        asking = client(given.pop("address", address), waits)
        try:
            return pull_shopify(folder, asking, now=NOW, **given)
        finally:
            asking.close()


def same(folder: Path, shop: Shop) -> bool:
    orders, refunds = shop.written()
    (got,) = folder.glob("shopify-orders-*")
    (lines,) = folder.glob("shopify-refunds-*")
    rows = [json.loads(line) for line in lines.read_bytes().splitlines()]
    expected = [json.loads(line) for line in refunds.splitlines()]
    return got.read_bytes() == orders and rows == expected


def test_a_shop_with_a_fault_at_every_call_is_pulled_as_it_is(tmp_path: Path, waits: Waits) -> None:
    shop = Shop(300, Faults(KINDS))
    files = pulled(tmp_path / "inbox", shop, waits)
    assert [f.name for f in files] == ["shopify-refunds-1.jsonl", "shopify-orders-1.jsonl"]
    assert same(tmp_path / "inbox", shop)
    assert shop.faults.met >= 10
    assert 2.0 in waits  # as Retry-After asks, and until the points are there again
    assert all(f.stat().st_mode & 0o077 == 0 for f in files)


def test_a_pull_interrupted_at_every_call_goes_on_where_it_ended(tmp_path: Path, waits: Waits) -> None:
    class Stop(BaseException): ...

    shop, ended, calls = Shop(300), 0, []
    real = Client.json

    def counted(self: Client, *given: Any, **more: Any) -> Any:
        calls.append(1)
        answer = real(self, *given, **more)
        if len(calls) == stop:
            raise Stop
        return answer

    with pytest.MonkeyPatch.context() as patch, served(shop) as address:
        patch.setattr(Client, "json", counted)
        patch.setattr(shopify_module, "CHUNK", 10_000)
        for stop in range(1, 40):
            calls.clear()
            asking = client(address, waits)
            try:
                pull_shopify(tmp_path, asking, now=NOW)
                break
            except Stop:
                ended += 1
                stop = 1
            finally:
                asking.close()
    assert same(tmp_path, shop)
    assert len(shop.operations) == 1
    assert ended >= 3


def test_what_changed_while_it_was_pulled_comes_with_the_next_pull(tmp_path: Path, waits: Waits) -> None:
    shop = Shop(300)
    shop.moved = {shop.refund_id(40), shop.refund_id(80)}  # a refund changes between two pages of its lines
    first = pulled(tmp_path, shop, waits)
    lines = [json.loads(line) for line in first[0].read_text().splitlines()]
    (changed,) = [row for row in lines if row["id"] == shop.refund_id(40)]
    assert changed["updatedAt"] == NOW.isoformat()
    assert len(changed["refundLineItems"]["nodes"]) == 3
    shop.updated[7] = NOW + timedelta(minutes=1)
    shop.clock = NOW + timedelta(hours=1)
    with served(shop) as address:
        asking = client(address, waits)
        with pytest.raises(PullError, match="holds what was pulled from"):
            pull_shopify(tmp_path, asking, now=NOW)
        asking.close()
    memory = tmp_path / ".shopify.pull.json"
    with served(shop) as address:
        memory.write_text(json.dumps(json.loads(memory.read_text()) | {"shop": address}))
        asking = client(address, waits)
        second = pull_shopify(tmp_path, asking, now=NOW)
        shop.clock = NOW + timedelta(hours=3)
        third = pull_shopify(tmp_path, asking, now=NOW)
        asking.close()
    orders = [json.loads(line) for line in second[1].read_text().splitlines()]
    assert sorted(o["id"].rsplit("/")[-1] for o in orders if "/Order/" in o["id"]) == ["40", "7", "80"]
    assert third == []


def test_a_refused_key_ends_the_pull_and_the_new_one_goes_on(tmp_path: Path, waits: Waits) -> None:
    shop = Shop(300)
    shop.faults.at = {5: lambda: setattr(shop, "token", "expired")}
    with served(shop) as address:
        asking = client(address, waits)
        with pytest.raises(PullError, match=r"refuses the key \(401\)") as refused:
            pull_shopify(tmp_path, asking, now=NOW)
        assert TOKEN not in str(refused.value)
        shop.token = TOKEN
        pull_shopify(tmp_path, asking, now=NOW)
        asking.close()
    assert same(tmp_path, shop)
    assert len(shop.operations) == 1


def test_an_operation_of_the_same_app_is_waited_for(tmp_path: Path, waits: Waits) -> None:
    shop = Shop(20)
    shop._run("{ products }", "http://127.0.0.1:1")
    pulled(tmp_path, shop, waits)
    assert same(tmp_path, shop)
    assert len(shop.operations) == 2


def test_a_server_that_is_down_ends_the_pull_with_a_sentence(tmp_path: Path, waits: Waits) -> None:
    asking = client("http://127.0.0.1:9", waits)
    with pytest.raises(PullError, match=r"127\.0\.0\.1 cannot be reached"):
        pull_shopify(tmp_path, asking, now=NOW)
    asking.close()
    assert waits == [1, 2, 4, 8, 16, 32, 64]


@pytest.fixture
def parcels() -> Carrier:
    def event(at: str, code: str) -> dict[str, str]:
        return {"timestamp": at, "statusCode": code}

    moving = [event("2026-04-02T08:00:00Z", "transit"), event("2026-04-01T08:00:00Z", "pre-transit")]
    return Carrier({"P1": [event("2026-04-03T08:00:00Z", "delivered"), *moving], "P2": moving}, Faults(KINDS))


def test_parcels_are_asked_for_until_they_are_delivered(tmp_path: Path, waits: Waits, parcels: Carrier) -> None:
    with served(carrier=parcels) as address:
        asking = client(address, waits)
        (first,) = pull_dhl(tmp_path, asking, ["P1", "P2", " P2", "", "P3"], now=NOW)
        rows = [json.loads(line) for line in first.read_text().splitlines()]
        assert [(r["trackingNumber"], len(r["events"])) for r in rows] == [("P1", 3), ("P2", 2)]
        assert "Lyon" not in first.read_text()
        assert parcels.faults.met == 3
        asked = parcels.faults.calls
        assert pull_dhl(tmp_path, asking, ["P1", "P2"], now=NOW + timedelta(hours=1)) == []
        assert parcels.faults.calls == asked + 1
        parcels.events["P2"] = [{"timestamp": "2026-04-04T08:00:00Z", "statusCode": "delivered"}, *parcels.events["P2"]]
        (second,) = pull_dhl(tmp_path, asking, ["P1", "P2"], now=NOW + timedelta(hours=2))
        assert len(second.read_text().splitlines()) == 1
        with pytest.raises(PullError, match="no tracking number"):
            pull_dhl(tmp_path, asking, ["P1&x=2"], now=NOW)
        asking.close()


def test_the_command_pulls_and_what_it_wrote_loads(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPIFY_TOKEN", TOKEN)
    monkeypatch.setattr(shopify_module, "POLL_S", 0)
    shop = Shop(40)
    with served(shop) as address:
        code, told, wrong = ends(capsys, monkeypatch, "pull", "shopify", address, "--into", tmp_path / "inbox")
    assert (code, told.splitlines()[-1]) == (0, f"Next: backhaul load {tmp_path / 'inbox'}"), wrong
    report = load(settings, [tmp_path / "inbox"], is_trial=True)
    accepted = {c["table"]: c["accepted"] for c in report.counts}
    assert (report.quarantined, accepted["order_line"], accepted["refund"]) == ([], 40, 10)
    monkeypatch.delenv("SHOPIFY_TOKEN")
    code, _, wrong = ends(capsys, monkeypatch, "pull", "shopify", "https://example.myshopify.com")
    assert (code, "SHOPIFY_TOKEN" in wrong) == (1, True)
    code, _, wrong = ends(capsys, monkeypatch, "pull", "dhl", "--numbers", tmp_path / "absent.txt")
    assert (code, "absent.txt cannot be read" in wrong) == (1, True)


def test_keys_lie_in_the_environment_or_in_a_file_of_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text("secret\n")
    file.chmod(0o644)
    with pytest.raises(PullError, match="can be read by others"):
        key_of("X", file)
    file.chmod(0o600)
    assert key_of("X", file) == "secret"
    with pytest.raises(PullError, match="environment variable X"):
        key_of("X", None)
    monkeypatch.setenv("X", " secret ")
    assert key_of("X", None) == "secret"


@pytest.mark.parametrize("address", ["http://example.org", "https://user:key@example.org", "file:///etc/passwd", "x"])
def test_only_encrypted_addresses_are_pulled_from(address: str) -> None:
    with pytest.raises(PullError, match="is no address to pull from"):
        checked(address)


@pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), ("900", 120.0), ("soon", 4.0), ("", 4.0), ("-1", 0.0)])
def test_a_server_says_how_long_to_wait(said: str, seconds: float) -> None:
    import httpx

    assert asked_wait(httpx.Response(429, headers={"Retry-After": said}), 4.0) == seconds


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")


@pytest.mark.usefixtures("aws")
def test_only_new_objects_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs", reason="missing tool: s3fs")
    held = {f"exports/{n}.csv": f"id\n{n}\n".encode() for n in range(5)} | {"other/9.csv": b"id\n", "exports/": b""}
    with bucket(held) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        server.changes["exports/3.csv"] = b"id\nthree\n"
        first = pull_objects(tmp_path, "s3://bucket/exports")
        assert [f.name for f in first] == [f"{n}.csv" for n in range(5)]
        assert (tmp_path / "3.csv").read_bytes() == b"id\nthree\n"
        held |= {"exports/2026/5.csv": b"id\n5\n", "exports/1.csv": b"id\n11\n"}
        server.asked.clear()
        second = pull_objects(tmp_path, "s3://bucket/exports")
        assert [str(f.relative_to(tmp_path)) for f in second] == ["1.csv", "2026/5.csv"]
        assert [a for a in server.asked if a.startswith("GET /bucket/exports")] == [
            "GET /bucket/exports/1.csv",
            "GET /bucket/exports/2026/5.csv",
        ]
        assert pull_objects(tmp_path, "s3://bucket/exports/") == []
        held["exports/../x.csv"] = b"id\n"
        with pytest.raises(PullError, match="cannot be a file of the folder"):
            pull_objects(tmp_path, "s3://bucket/exports")


@pytest.mark.parametrize("address", ["file:///etc", "s3://", "https://bucket/exports", "memory://x"])
def test_objects_are_pulled_from_object_storage_only(address: str, tmp_path: Path) -> None:
    with pytest.raises(PullError, match="no address of object storage"):
        pull_objects(tmp_path, address)
