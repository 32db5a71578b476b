"""Sign-in in real browsers against a small provider on loopback (tests/oidc.py), over real HTTP."""

import http.client
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import httpx
import pytest

from pipelines.access import audit
from pipelines.settings import Settings
from tests.browsing import PATIENCE, Visit, free_port, served
from tests.conftest import copied
from tests.oidc import CLIENT, SECRET, Provider, provided
from tests.test_access import READERS
from tests.two_markets import MARK


@pytest.fixture(scope="module")
def shop(markets_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = copied(markets_settings, tmp_path_factory.mktemp("sign_in"))
    settings.readers_file.write_text(READERS, encoding="utf-8")
    return settings


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with provided(free_port()) as found:
        yield found


@contextmanager
def guarded(shop: Settings, provider: Provider, folder: Path) -> Iterator[str]:
    """Serve the pages for readers who sign in: their address."""
    port = free_port()
    told = {"BACKHAUL_URL": f"http://localhost:{port}", "BACKHAUL_OIDC_ISSUER": provider.issuer}
    told |= {"BACKHAUL_OIDC_CLIENT": CLIENT, "BACKHAUL_OIDC_SECRET": SECRET}
    with (
        patch.dict("os.environ", told),
        served(shop.warehouse, folder, port=port, is_refusing=True),
    ):
        yield f"http://localhost:{port}"


@pytest.fixture(scope="module")
def address(shop: Settings, provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The pages, for readers who sign in."""
    with guarded(shop, provider, tmp_path_factory.mktemp("server")) as found:
        yield found


class Person(Visit):
    """Somebody in a browser of their own."""

    def __init__(self, browser: Any, address: str, width: int = 1440, **window: Any) -> None:
        super().__init__(browser, address, width, **window)
        self.context = self.page.context

    def sign_in(self, email: str) -> None:
        self.page.goto(self.address)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("link", name=email).click()
        self.page.wait_for_url(f"{self.address}/**")

    def look(self, text: str) -> str:
        """Wait until the page says this, and give all it says."""
        self.page.get_by_text(text).first.wait_for()
        self.page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        return str(self.page.locator("body").inner_text())


def events(shop: Settings) -> list[tuple[str, str]]:
    return [(row["event"], row["who"]) for row in audit.events(shop)]


def test_two_readers_at_once_see_their_own_numbers_and_sign_out(
    browser: Any, address: str, shop: Settings, provider: Provider
) -> None:
    anna, root = Person(browser, address), Person(browser, address)
    anna.sign_in("anna@example.org")
    root.sign_in("root@example.org")
    said = anna.look("You see: Market: France")
    assert "anna@example.org (viewer)" in said
    assert "Export" not in said
    anna.page.goto(f"{address}/returns")
    said = anna.look("You see: Market: France")
    assert MARK not in said
    root.page.goto(f"{address}/returns")
    assert "root@example.org (admin)" in root.look("root@example.org")
    root.page.get_by_role("button", name="More").first.click()
    root.page.get_by_label("Brand", exact=True).first.wait_for()
    assert {("signed_in", "anna@example.org"), ("signed_in", "root@example.org")} <= set(events(shop))
    kept = anna.context.cookies()
    anna.page.get_by_role("button", name="Sign out").click()
    anna.look("These pages are for the readers")
    assert provider.signed_out == 1
    assert ("signed_out", "anna@example.org") in events(shop)
    anna.context.add_cookies(kept)  # who kept the cookie is not let in by it
    anna.page.goto(address)
    anna.look("These pages are for the readers")
    root.page.reload()
    root.look("root@example.org (admin)")


def test_an_analyst_takes_a_file_that_is_written_down(
    browser: Any, address: str, shop: Settings, tmp_path: Path
) -> None:
    """The file is made when its button is pressed, outside of the page: as who signed in to the page."""
    ben = Person(browser, address)
    ben.sign_in("ben@example.org")
    ben.look("ben@example.org (analyst)")
    ben.open("products")
    ben.page.locator("[class*=st-key-products_rows] button").first.click()
    dialog = ben.page.get_by_role("dialog")
    dialog.get_by_test_id("stDataFrame").wait_for()
    with ben.page.expect_download() as download:
        dialog.get_by_role("button", name="CSV", exact=True).click()
    download.value.save_as(tmp_path / "rows.csv")
    text = (tmp_path / "rows.csv").read_text(encoding="utf-8")
    assert "s:R45" in text
    assert MARK not in text
    assert ("exported", "ben@example.org") in events(shop)


def test_who_is_no_reader_or_no_reader_any_more_is_out(browser: Any, address: str, shop: Settings) -> None:
    nobody, ben = Person(browser, address), Person(browser, address)
    nobody.sign_in("nobody@example.org")
    nobody.look("You are not a reader of this shop")
    assert ("refused", "nobody@example.org") in events(shop)
    ben.sign_in("ben@example.org")
    ben.look("ben@example.org (analyst)")
    shop.readers_file.write_text(READERS.replace("ben@", "benno@"), encoding="utf-8")
    try:
        ben.look("You are not a reader of this shop")  # without a click
        assert "ben@example.org (analyst)" not in ben.page.locator("body").inner_text()
    finally:
        shop.readers_file.write_text(READERS, encoding="utf-8")


FAULTS = ("nonce", "signature", "unsigned", "public_key", "audience", "issuer", "expired")
SIGNED_IN = "_streamlit_user"
"""The cookie of who is signed in."""


def signed_in(login: str, email: str) -> bool:
    """Follow the way of a sign-in by HTTP, as a browser does that was sent to `login`; say whether it let in."""
    with httpx.Client(follow_redirects=True) as client:
        asked = client.get(login).url
        client.get(asked.copy_with(path="/chosen").copy_merge_params({"email": email}))
        return any(name.startswith(SIGNED_IN) for name in client.cookies)


def test_a_token_that_does_not_hold_lets_nobody_in(
    browser: Any, address: str, shop: Settings, provider: Provider
) -> None:
    """The first fault is met in a browser; the way it was sent is gone by HTTP with the others, and with none."""
    anna, sent = Person(browser, address), list[str]()
    anna.page.on("request", lambda request: sent.append(request.url) if "/auth/login" in request.url else None)
    before = len(events(shop))
    try:
        provider.fault = FAULTS[0]
        anna.sign_in("anna@example.org")
        anna.look("These pages are for the readers")
        for provider.fault in FAULTS[1:]:
            assert not signed_in(sent[0], "anna@example.org"), provider.fault
    finally:
        provider.fault = ""
    assert events(shop)[: len(events(shop)) - before] == [("refused", "unknown")] * len(FAULTS)
    assert signed_in(sent[0], "anna@example.org")


def test_signing_out_clears_what_the_browser_stored(address: str) -> None:
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE / 1000)) as connection:
        connection.request("GET", "/auth/logout")
        with connection.getresponse() as answer:
            assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'


def test_nobody_gets_files_or_another_name(address: str, tmp_path: Path) -> None:
    for path in ("/media/x.csv", "/_stcore/upload_file/x/y"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{address}{path}", timeout=20)
    other = urllib.request.Request(address, headers={"Host": "evil.example.org"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(other, timeout=20)
