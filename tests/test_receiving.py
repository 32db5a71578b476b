"""Web hooks over a real receiver on loopback: what is believed, what is on disk, and what a load makes of it."""

import base64
import hashlib
import hmac
import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.errors import ServeError, SourceError
from pipelines.load import load
from pipelines.receiving import receiver, spool, taking
from pipelines.receiving.hooks import hooks_of
from pipelines.receiving.systems import SYSTEMS, Scheme, is_signed
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_id
from tests.conftest import ends
from tests.serving import ask, serving

pytestmark = pytest.mark.usefixtures("facts_alone")

SECRET = "a secret that tests know of"
NOW = datetime.now(UTC)
HOOKS = f"""
loop: {{secret: {SECRET}, window_hours: 0}}
aftership: {{secret: [the old one of before, {SECRET}]}}
wms: {{system: standard, source: loop_returns, secret: whsec_{base64.b64encode(SECRET.encode()).decode()}}}
onestock: {{secret: {SECRET}, header: X-Own-Signature, window_hours: 0}}
"""


def signature(body: bytes, encoding: str = "base64", secret: str = SECRET) -> str:
    digest = hmac.new(secret.encode(), body, hashlib.sha256)
    return digest.hexdigest() if encoding == "hex" else base64.b64encode(digest.digest()).decode()


def loop_return(number: int, at: str = "2026-04-02T10:00:00Z", **more: Any) -> dict[str, Any]:
    item = {"line_item_id": number, "provider_line_item_id": f"L{number}", "sku": "TEE", "return_reason": "Too small"}
    returned = {"id": number, "state": "open", "created_at": "2026-04-01T10:00:00Z", "updated_at": at, "refund": "0"}
    one = {**returned, "provider_order_id": f"O{number}", "currency": "EUR", "tracking_number": "", "carrier": "DHL"}
    return {
        **one,
        "address": {"country_code": "FR"},
        "line_items": [{**item, "returned_at": more.pop("back", None)}],
        **more,
    }


def settings_with(tmp_path: Path, hooks: str = HOOKS) -> Settings:
    settings = Settings(warehouse=tmp_path / "warehouse", hook_secrets={"shopify": SECRET, "happy-returns": SECRET})
    settings.hooks_file.write_text(hooks, encoding="utf-8")
    settings.hooks_file.chmod(0o600)
    return settings


class Sender:
    """Send to a receiver; `last` is its last answer."""

    def __init__(self, port: int) -> None:
        self.port, self.last = port, {}

    def post(self, name: str, body: bytes, **headers: str) -> int:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        answer = ask(self.port, "POST", f"/hooks/{name}", body, {"Content-Type": "application/json", **named})
        self.last, self.headers = json.loads(answer.body or b"{}"), answer.headers
        return answer.status

    def loop(self, event: Any, secret: str = SECRET) -> int:
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        return self.post("loop", body, x_loop_signature=signature(body, secret=secret))


Start = Callable[[Settings], Sender]


@pytest.fixture
def started() -> Iterator[Start]:
    """Start receivers, and stop them at the end."""
    with serving() as started_on:
        yield lambda settings: Sender(started_on(receiver.application(settings)))


def lines_of(settings: Settings, hook: str = "loop", part: str = "waiting") -> list[bytes]:
    return [line for file in spool.segments(settings.spool / hook / part) for line in file.read_bytes().splitlines()]


def events_of(settings: Settings) -> dict[tuple[str, str], int]:
    """Count the events of the newest build's returns."""
    build = duckdb.connect(str(build_path(settings.warehouse, current_id(settings.warehouse) or "")), read_only=True)
    rows = build.execute("""
        SELECT return_id, event, count(*) FROM fact_return_event e
        JOIN (SELECT DISTINCT return_line_key, return_id FROM fact_return_line) USING (return_line_key) GROUP BY ALL
    """).fetchall()
    build.close()
    return {(str(r), str(e)): int(n) for r, e, n in rows}


def test_each_system_is_believed_by_its_own_signature(tmp_path: Path, started: Start) -> None:
    now = datetime.now(UTC)  # the receiver reads the clock
    sender = started(settings_with(tmp_path))
    body = json.dumps({"id": "h1", "created_at": now.isoformat(), "data": {"return_items": [{}]}}).encode()
    at = f"{now.timestamp():.0f}"
    standard = signature(b"m1." + at.encode() + b"." + body)
    for name, headers in {
        "shopify": {"x_shopify_hmac_sha256": signature(body), "x_shopify_triggered_at": now.isoformat()},
        "loop": {"x_loop_signature": signature(body)},
        "aftership": {"as_signature_hmac_sha256": signature(body)},
        "happy-returns": {"x_hr_signature": signature(body, "hex").upper()},
        "wms": {"webhook_id": "m1", "webhook_timestamp": at, "webhook_signature": f"v1,AAAA v1,{standard}"},
    }.items():
        assert sender.post(name, body, **headers) == 200, (name, sender.last)
        assert sender.last == {"status": "kept"}
        assert sender.post(name, body, **headers) == 200
        assert sender.last == {"status": "known"}
        assert sender.post(name, body + b" ", **headers) == 401, name
        assert sender.post(name, body) == 401, name
    legacy = json.dumps({"id": "h2"}).encode()
    assert sender.post("aftership", legacy, am_webhook_signature=f"hmac-sha256={signature(legacy)}") == 200
    assert sender.post("onestock", body, x_own_signature=signature(body, "hex")) == 202
    assert sender.post("nobody", body) == 404
    assert SECRET not in json.dumps(sender.last)


def test_a_signature_is_of_one_secret_one_header_and_these_bytes() -> None:
    scheme = Scheme("x-signature")
    for secrets, shown, expected in (
        (["a", "b"], signature(b"{}", secret="b"), True),
        (["a"], signature(b"{}", secret="b"), False),
        (["a"], "", False),
        (["a"], "é", False),
    ):
        assert is_signed([scheme], secrets, {"x-signature": shown}, b"{}") is expected
    assert not is_signed([scheme], ["a"], {"x-other": signature(b"{}", secret="a")}, b"{}")


@pytest.mark.parametrize(("hours", "status"), [(-23, 200), (-25, 400), (1, 400)])
def test_an_event_is_of_the_last_day(hours: int, status: int, tmp_path: Path) -> None:
    hook = hooks_of(settings_with(tmp_path))["aftership"]
    body = json.dumps({"id": "h", "created_at": (NOW + timedelta(hours=hours)).isoformat()}).encode()
    said, _, digests = receiver.judged(hook, {"as-signature-hmac-sha256": signature(body)}, body, NOW)
    assert (said or 200) == status
    assert bool(digests) == (status == 200)
    old = str(int((NOW - timedelta(minutes=6)).timestamp()))
    signed = signature(b"m1." + old.encode() + b"." + body)
    headers = {"webhook-id": "m1", "webhook-timestamp": old, "webhook-signature": f"v1,{signed}"}
    assert receiver.judged(hooks_of(settings_with(tmp_path))["wms"], headers, body, NOW)[0] == 400


def test_an_event_is_known_by_its_name_and_by_its_body(tmp_path: Path, started: Start) -> None:
    settings = settings_with(tmp_path)
    sender = started(settings)
    body, other = b'{"id": 1}', b'{"id": 2}'
    assert sender.post("shopify", body, x_shopify_hmac_sha256=signature(body), x_shopify_webhook_id="d1") == 200
    for again, named in ((body, "d2"), (other, "d1")):  # the name is not signed: the body is known under any other
        assert sender.post("shopify", again, x_shopify_hmac_sha256=signature(again), x_shopify_webhook_id=named) == 200
        assert sender.last == {"status": "known"}
    assert lines_of(settings, "shopify") == [body]


def test_what_was_told_is_known_after_a_restart_and_nobody_else_can_read_it(tmp_path: Path, started: Start) -> None:
    settings = settings_with(tmp_path)
    held = spool.Spool(settings)
    with pytest.raises(ServeError, match="Another receiver"):
        spool.Spool(settings)
    held.close()
    assert started(settings).loop(loop_return(1)) == 200
    files = [path for path in settings.spool.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in [settings.spool, *settings.spool.rglob("*")]} == {0}
    assert files
    known = settings.spool / "known"
    known.write_bytes(known.read_bytes() + b"cut by a kill")  # a digest has 16 bytes
    again = spool.Known(known)
    assert spool.digest("loop", "body", json.dumps(loop_return(1)).encode()) in again
    again.close()


def test_too_much_at_once_is_told_to_come_back(tmp_path: Path, started: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_with(tmp_path)
    sender = started(settings)
    assert sender.post("loop", b"x" * (receiver.MOST_BYTES + 1)) == 413
    monkeypatch.setattr(spool, "MOST_QUEUED", 0)
    assert sender.loop(loop_return(1)) == 429
    assert sender.headers["retry-after"] == "1"
    monkeypatch.setattr(spool, "MOST_QUEUED", 9)
    assert sender.loop(loop_return(1)) == 200  # what was refused is not known

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool, "write_durably", full)
    assert sender.loop(loop_return(2)) == 503
    monkeypatch.undo()
    assert sender.loop(loop_return(2)) == 200
    assert len(lines_of(settings)) == 2


def test_a_load_takes_each_event_once_in_any_order_and_after_a_kill(
    tmp_path: Path, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with(tmp_path)
    sender = started(settings)
    new = loop_return(1, "2026-04-09T10:00:00Z", back="2026-04-08 12:00:00", state="closed", refund="20.00")
    assert [sender.loop(event) for event in (new, loop_return(2), loop_return(1), new)] == [200] * 4

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(taking, "clear", die)  # the raw file is there, and its events are in the spool
        with pytest.raises(KeyboardInterrupt):
            load(settings)
    assert sender.loop(loop_return(3)) == 200
    assert load(settings).is_new_build  # what had landed
    assert len(lines_of(settings)) == 1  # comes by itself, after that
    late = loop_return(1, "2026-04-02T11:00:00Z")  # an older state after the newer one: nothing is taken back
    assert sender.loop(late) == 200
    load(settings)
    one = ["requested", "received", "refunded"]
    assert events_of(settings) == {
        **{("loop:1", event): 1 for event in one},
        ("loop:2", "requested"): 1,
        ("loop:3", "requested"): 1,
    }
    assert not lines_of(settings)
    assert not [*settings.spool.glob("loop/taking/*.ndjson"), *settings.spool.glob("loop/taking/batch/*")]


def test_a_batch_is_the_same_until_it_is_let_go(tmp_path: Path, started: Start) -> None:
    settings = settings_with(tmp_path)
    sender = started(settings)
    assert sender.loop(loop_return(1)) == 200
    ((first,), _) = taking.take(settings)
    content = first.file.read_bytes()
    assert sender.loop(loop_return(2)) == 200
    for segment in spool.segments(first.file.parents[1]):
        segment.unlink()  # killed while it was let go
    ((again,), _) = taking.take(settings)
    assert again == first
    assert again.file.read_bytes() == content
    taking.clear(again)
    ((following,), _) = taking.take(replace(settings, hook_secrets={}))  # a load knows no secret, and needs none
    assert [json.loads(line)["id"] for line in following.file.read_bytes().splitlines()] == [2]
    taking.clear(following)
    assert taking.take(settings) == ([], [])


def test_what_cannot_be_read_is_quarantined_and_replayed(
    tmp_path: Path, started: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with(tmp_path)
    sender = started(settings)
    label = {"topic": "label", "id": 7}
    for event in (loop_return(1), label, b"{", [loop_return(2), loop_return(3)], b"\xff"):
        assert sender.loop(event) == 200
    orphan = {"id": "gid://shopify/LineItem/1", "__parentId": "gid://shopify/Order/9"}  # its parent is nowhere
    for number, one in enumerate([{"admin_graphql_api_id": f"gid://shopify/Refund/{n}"} for n in range(8)]):
        body = json.dumps(orphan if number == 5 else one).encode()
        assert sender.post("shopify", body, x_shopify_hmac_sha256=signature(body)) == 200
    for is_first in (True, False):
        batches, notes = taking.take(settings)
        taken = [line for batch in batches for line in batch.file.read_bytes().splitlines()]
        told = " of {} cannot be read: backhaul received shows why."
        assert notes == [f"3 events{told.format('loop')}", f"1 events{told.format('shopify')}"]
        of_loop, of_shopify = taking.waiting(settings)
        assert of_loop.aside == {taking.NOTHING: 1, taking.NOT_JSON: 2}
        assert list(of_shopify.aside.values()) == [1]
        assert "belongs to Order/9" in next(iter(of_shopify.aside))
        assert len(taken) == (10 if is_first else 0)
        for batch in batches:
            taking.clear(batch)
        code, out, _ = ends(capsys, monkeypatch, "received", "--warehouse", settings.warehouse, "--format", "csv")
        assert code == 0
        assert "loop,2,quarantined: It is no JSON." in out
        for hook in ("loop", "shopify"):
            assert ends(capsys, monkeypatch, "received", "--replay", hook, "--warehouse", settings.warehouse)[0] == 0
        assert {b"{", b"\xff"} <= set(lines_of(settings))
    taking.take(settings)
    assert ends(capsys, monkeypatch, "received", "--drop", "loop", "--warehouse", settings.warehouse)[0] == 0
    with pytest.raises(SourceError, match="No event of loop is quarantined"):
        taking.replay(settings, "loop")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("loop: {secret: short}", "too short"),
        ("loop: {}", "BACKHAUL_HOOK_LOOP"),
        ("loop: {secret: aaaaaaaaaa, secrets: b}", "there is no key `secrets`"),
        ("Loop!: {secret: aaaaaaaaaa}", "cannot be a name"),
        ("wms: {system: generic, secret: aaaaaaaaaa, header: X}", "needs a `source:`"),
        ("onestock: {secret: aaaaaaaaaa}", "needs a `header:`"),
        ("x: {system: nosuch, secret: aaaaaaaaaa}", "one of shopify"),
        ("loop: {secret: aaaaaaaaaa, window_hours: -1}", "window_hours"),
        ("loop: {secret: aaaaaaaaaa, header: X, encoding: utf}", "hex or base64"),
        ("loop: {secret: aaaaaaaaaa, answer: 500}", "200, 202 or 204"),
        ("- loop", "lists hooks by name"),
        ("loop: *a", "line 1"),
    ],
)
def test_a_file_of_hooks_is_read_strictly(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ServeError, match=said.replace("(", r"\(")):
        hooks_of(settings_with(tmp_path, text))


def test_secrets_are_the_owners_alone(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    settings.hooks_file.chmod(0o640)
    with pytest.raises(ServeError, match="chmod 600"):
        hooks_of(settings)
    assert SECRET not in repr(settings)
    settings.hooks_file.unlink()
    assert set(hooks_of(settings)) == {"shopify", "happy-returns"}
    assert SECRET not in repr(hooks_of(settings))
    with pytest.raises(ServeError, match="nothing describes"):
        hooks_of(Settings(warehouse=settings.warehouse, hook_secrets={"wms": SECRET}))
    with pytest.raises(ServeError, match="No hook is named"):
        receiver.application(Settings(warehouse=settings.warehouse, hook_secrets={}))


def test_a_load_knows_hooks_without_their_secrets(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, "fr-shop: {system: shopify, namespace: fr}\nloop: {source: shopify}\n")
    settings.hooks_file.chmod(0o644)
    with pytest.raises(ServeError, match="BACKHAUL_HOOK_FR_SHOP"):
        hooks_of(settings)
    read = hooks_of(settings, is_receiving=False)
    assert (read["fr-shop"].namespace, read["fr-shop"].source) == ("fr", "shopify")
    assert (read["loop"].source, read["happy-returns"].source) == ("shopify", "happy_returns")


def test_who_is_forgotten_is_looked_for_in_the_spool(copy_of_tiny: Settings) -> None:
    from pipelines.people.forget import search
    from pipelines.warehouse import state

    row = {"came_at": "2026-04-01T10:00:00Z", "reason": taking.NOTHING, "event": '{"email": "anne@example.org"}'}
    file = copy_of_tiny.spool / "loop" / "aside" / "20260401T100000000000-1.ndjson"
    spool.write_durably(file, [json.dumps(row).encode() + b"\n"])
    state_file = state.State(copy_of_tiny.warehouse)
    found = {part.place: part.found for part in search(copy_of_tiny, state_file, "anne@example.org", {}, None, print)}
    state_file.close()
    assert found["events of web hooks"] == ("warehouse.spool/loop/aside/20260401T100000000000-1.ndjson",)


def test_every_system_has_a_source_that_reads_it() -> None:
    from pipelines.sources import source_named

    for name, system in SYSTEMS.items():
        assert not system.source or source_named(system.source).name, name
