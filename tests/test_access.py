"""Readers, their rights and keys, what is written down, and what the command line and the endpoint show a reader."""

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest

from dashboard.shared.sessions import COOKIE, Sessions, digest
from pipelines.access import OWNER, Reader, audit, keys, load_readers
from pipelines.cli import options, pages
from pipelines.errors import AccessError, ServeError
from pipelines.outputs import serve
from pipelines.settings import Settings
from pipelines.warehouse.scope import Scope
from tests import every_part
from tests.conftest import copied, ends
from tests.turns import IS_WHOLE, by_turns
from tests.two_markets import MARK

READERS = """version: 1
readers:
  - {email: anna@example.org, role: viewer, markets: [FR]}
  - {email: ben@example.org, role: analyst, markets: [FR]}
  - {email: root@example.org, role: admin}
  - {group: finance, role: analyst}
  - {key: erp, role: viewer, markets: [FR]}
"""


@pytest.fixture(scope="module")
def shop(markets_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The shop of two markets with a file of readers."""
    settings = copied(markets_settings, tmp_path_factory.mktemp("access"))
    settings.readers_file.write_text(READERS, encoding="utf-8")
    return settings


def test_a_reader_is_found_by_a_verified_e_mail_then_by_group(shop: Settings) -> None:
    found = load_readers(shop)
    france = Scope.of(markets=["FR"])
    anna = found.signed_in({"email": "anna@example.ORG"})
    assert anna is not None
    assert (anna.role, anna.scope, anna.may("look"), anna.may("export")) == ("viewer", france, True, False)
    assert found.signed_in({"email": "anna@example.org", "email_verified": False}) is None
    of_group = found.signed_in({"email": "carl@example.org", "groups": ["other", "finance"]})
    assert of_group == Reader("carl@example.org", "analyst", Scope(), "group")
    assert found.signed_in({"email": "carl@example.org", "groups": "other"}) is None
    assert found.signed_in({"email": "erp"}) is None  # a key's name is no e-mail
    assert found.scopes == (france,)
    assert OWNER.may("change")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("readers: []", "begins with `version: 1`"),
        ("version: 2\nreaders: []", "begins with `version: 1`"),
        ("version: 1\nreaders:\n  - {email: a, role: boss}", "line 3: `role` is one of"),
        ("version: 1\nreaders:\n  - {email: a, role: viewer, market: FR}", "line 3: there is no `market`"),
        ("version: 1\nreaders:\n  - {email: a, group: b, role: viewer}", "line 3: a reader is known by one of"),
        ("version: 1\nreaders:\n  - {email: a, role: admin, markets: [FR]}", "line 3: an admin"),
        (
            "version: 1\nreaders:\n  - {email: a, role: viewer}\n  - {email: A, role: viewer}",
            "line 4: A is listed twice",
        ),
        ("version: 1\nreaders:\n  - {email: a, role: viewer, markets: []}", "line 3: `markets` is a list of names"),
        ("version: 1\nreaders: [", "line 2"),
        ("x" * 1_100_000, "larger than 1024 KB"),
    ],
)
def test_a_file_that_is_wrong_lets_nobody_in_and_names_its_line(settings: Settings, text: str, said: str) -> None:
    settings.readers_file.parent.mkdir(parents=True, exist_ok=True)
    settings.readers_file.write_text(text, encoding="utf-8")
    with pytest.raises(AccessError) as raised:
        load_readers(settings)
    assert said in str(raised.value)


def test_norway_stays_a_country(settings: Settings) -> None:
    settings.readers_file.parent.mkdir(parents=True, exist_ok=True)
    settings.readers_file.write_text("version: 1\nreaders:\n  - {email: a, role: viewer, markets: [NO]}\n")
    assert load_readers(settings).every[0].scope == Scope.of(markets=["NO"])


def test_what_is_written_down_is_private_follows_and_tells_when_it_was_altered(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "FULL", 400)
    anna = Reader("anna@example.org", "viewer", Scope.of(markets=["FR"]), "email")
    for number in range(6):
        audit.note(settings, "exported", anna, f"file {number}", "pages")
    files = sorted(settings.audit_folder.glob("*.jsonl"))
    assert len(files) > 1
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    assert stat.S_IMODE(settings.audit_folder.stat().st_mode) == 0o700
    told = audit.events(settings)
    assert [row["what"] for row in told] == [f"file {n}" for n in range(5, -1, -1)]
    assert (told[0]["who"], told[0]["role"], told[0]["scope"]) == ("anna@example.org", "viewer", "markets FR")
    assert audit.problem(settings) == ""
    lines = files[0].read_text().splitlines(keepends=True)
    files[0].write_text("".join(lines[:1] + lines[2:]) if len(lines) > 2 else lines[0].replace("file 0", "file 9"))
    assert "does not follow" in audit.problem(settings)


def test_a_session_ends_on_the_server_and_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Sessions(hours=1)
    one = digest({COOKIE: "a", f"{COOKIE}_1": "b", "_streamlit_user_tokens": "t"})
    assert one == digest({f"{COOKIE}_1": "b", COOKIE: "a"}) != digest({COOKIE: "a"})
    held.begin(one)
    assert held.is_new(one, OWNER)
    assert not held.is_new(one, OWNER)
    assert held.is_alive(one)
    assert held.end(one) == OWNER
    assert not held.is_alive(one)
    held.begin(one)
    held.seconds = -1
    assert not held.is_alive(one)


def test_every_verb_shows_a_reader_their_rows_or_is_refused_in_a_sentence(
    shop: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = refused = 0
    for verb in by_turns(every_part.VERBS, 2, 1):  # files are taken by those of this turn
        words = verb.format(folder=tmp_path).split()
        at = [] if words[0] == "metrics" else ["--warehouse", shop.warehouse]
        code, out, said = ends(capsys, monkeypatch, "--as", "ben@example.org", *words, *at)
        name = (
            verb
            if verb in options.READ_AS
            else next((v for v in (*options.READ_AS, *options.READ_AS_ANALYST) if f"{verb} ".startswith(f"{v} ")), "")
        )
        if name:
            shown += 1
            assert code == 0 or len(said.strip().splitlines()) == 1, (verb, said)
            assert MARK not in out, verb
            assert MARK not in said, verb
        else:
            refused += 1
            assert (code, "speaks of the whole shop" in said) == (1, True), (verb, said)
    assert shown > (20 if IS_WHOLE else 10)
    assert refused > (20 if IS_WHOLE else 10)
    for file in tmp_path.glob("*.csv"):
        assert MARK not in file.read_text(encoding="utf-8")
    code, _, said = ends(
        capsys,
        monkeypatch,
        "--as",
        "anna@example.org",
        "export",
        "sold_units",
        "--out",
        tmp_path / "x.csv",
        "--warehouse",
        shop.warehouse,
    )
    assert (code, "looks and takes no files" in said) == (1, True)
    code, _, said = ends(capsys, monkeypatch, "--as", "x@y.z", "metric", "sold_units", "--warehouse", shop.warehouse)
    assert (code, "is not in" in said) == (1, True)
    assert any(row["event"] == "exported" and row["who"] == "ben@example.org" for row in audit.events(shop))


def get(app: Any, path: str, key: str) -> tuple[int, str]:
    """Ask an ASGI application: status and text."""
    sent: list[Any] = []
    bare, _, query = path.partition("?")
    scope = {"type": "http", "method": "GET", "path": bare, "query_string": query.encode(), "http_version": "1.1"}
    scope |= {"headers": [(b"host", b"localhost"), (b"x-api-key", key.encode())], "scheme": "http", "root_path": ""}
    scope |= {"server": ("localhost", 80), "client": ("127.0.0.1", 1), "raw_path": bare.encode()}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent).decode()


def test_a_key_by_name_answers_within_its_scope_and_ends_with_its_reader(shop: Settings) -> None:
    theirs, own = keys.make(shop, "erp"), "the server's own"
    assert stat.S_IMODE(shop.reader_keys_file.stat().st_mode) == 0o600
    assert theirs not in shop.reader_keys_file.read_text()
    app = serve.application(shop, own)
    asked = ("/v1/promise?promise=refund", "/openapi.json", "/v1/returns/R0/refund-by")
    assert MARK in "".join(get(app, path, own)[1] for path in asked)
    answers = [get(app, path, theirs) for path in asked]
    assert [status for status, _ in answers] == [200, 200, 200]
    assert MARK not in "".join(text for _, text in answers)
    german = "/v1/returns/R1/refund-by"
    assert [get(app, german, key)[0] for key in (own, theirs, "x")] == [200, 404, 401]
    assert get(app, "/metrics", theirs)[0] == 403
    shop.readers_file.write_text(READERS.replace("key: erp", "key: other"), encoding="utf-8")
    try:
        assert get(app, asked[0], theirs)[0] == 401
        with pytest.raises(AccessError):
            keys.make(shop, "erp")
    finally:
        shop.readers_file.write_text(READERS, encoding="utf-8")


def test_a_public_address_without_sign_in_is_refused(settings: Settings) -> None:
    pages.check_public(settings, "127.0.0.1")
    with pytest.raises(ServeError, match="nobody signs in"):
        pages.check_public(settings, "0.0.0.0")
    told = {"oidc_issuer": "https://id.example.org", "oidc_client": "c", "oidc_secret": "s"}
    for given, said in (
        ({"public_url": "https://returns.example.org"}, "nobody signs in"),
        (told, "BACKHAUL_URL"),
        ({**told, "public_url": "http://returns.example.org"}, "https://"),
        ({**told, "public_url": "https://returns.example.org/shop"}, "without a path"),
    ):
        with pytest.raises(ServeError, match=said):
            pages.check_public(Settings(settings.warehouse, **given), "127.0.0.1")
    pages.check_public(Settings(settings.warehouse, **told, public_url="https://returns.example.org"), "0.0.0.0")
