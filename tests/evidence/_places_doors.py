"""A reader of one market tries every door: what is said of the other market, by its marked names.

Everything that the server sends to the browser is looked through (texts, tables, charts, options), as are files and
answers. A reader of both markets takes the same doors: where they saw no marked name either, a door proved nothing.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipelines.access import keys
from pipelines.cli import options
from pipelines.outputs import serve
from pipelines.settings import Settings
from tests import every_part
from tests.browsing import free_port
from tests.evidence import Claim
from tests.evidence._places_walk import Walk
from tests.oidc import provided
from tests.pages import ADDRESSES
from tests.test_access import READERS, get
from tests.test_agents import OF_FRANCE, over_stdio
from tests.test_sign_in import guarded
from tests.test_within import TOKENS, loaded
from tests.two_markets import MARK, whole

CONTROL = 4  # of so many pages, a reader of both markets opens one
FRENCH, BOTH = "ben@example.org", "root@example.org"
LINKS = (
    "?country=DE",
    "returns?country=DE",
    "products?country=DE",
    "late?country=DE",
    "margin?country=DE",
    "carbon?country=DE",
    "returns?country=DE&brand=zzTilleul",
    "product?product=zzstyle1",
)
ASKED = ("/v1/promise?promise=refund", "/openapi.json", "/v1/returns/R0/refund-by", "/v1/returns/R1/refund-by")


def shop(folder: Path) -> Settings:
    """Load the shop of both markets, with its readers."""
    settings = loaded(folder / "two", whole(60))
    settings.readers_file.write_text(READERS.replace("key: erp, role: viewer", "key: erp, role: analyst"), "utf-8")
    return settings


def in_browser(walk: Callable[..., Walk], settings: Settings, folder: Path) -> Iterator[Claim]:
    """Try pages, links, rows and files, signed in."""
    (folder / "guarded").mkdir()
    with provided(free_port()) as provider, guarded(settings, provider, folder / "guarded") as address:
        french, both = walk(address), walk(address)
        french.sign_in(FRENCH)
        french.look(FRENCH)
        both.sign_in(BOTH)
        both.look(BOTH)
        for walk_of in (french, both):  # before they sign in nobody gets a file, not even the icon of the page
            walk_of.complaints.clear()
        for part in (_pages, _links, _rows_and_files):
            yield from part(french, both, folder)
        wrong = french.wrong() + both.wrong()
        yield Claim(
            "A reader of one market: exceptions on the pages", "0", f"{len(wrong)} {wrong[:1] or ''}", not wrong
        )


def elsewhere(settings: Settings) -> Iterator[Claim]:
    """Try the endpoint, the command line and the agents' door."""
    yield _endpoint(settings)
    yield _command_line(settings)
    yield _agents(settings)


def _claim(door: str, tried: int, theirs: list[str], others: int) -> Claim:
    """Claim that a door said nothing of the other market, and that there was something to say."""
    said = f"{len(theirs)} of {tried}{': ' + theirs[0] if theirs else ''}; to a reader of both {others}"
    return Claim(
        f"A reader of one market, {door}: those that name anything of the other",
        "0, and more than 0 to a reader of both",
        said,
        not theirs and others > 0,
    )


def _named(told: bytes, but: str = "") -> list[str]:
    """List the marked names among what was told; not those that the reader wrote into the link, which come back."""
    return [token.decode() for token in TOKENS if token in told and token not in but.encode()]


def _opened(walk: Walk, path: str) -> list[str]:
    walk.heard()
    walk.open(path)
    return _named(walk.heard() + walk.page.content().encode(), path)


def _pages(french: Walk, both: Walk, _folder: Path) -> Iterator[Claim]:
    paths = ["" if name == ADDRESSES[0] else name for name in ADDRESSES]
    found = [f"{path}: {', '.join(names)}" for path in paths if (names := _opened(french, path))]
    shown = sum(bool(_opened(both, path)) for path in paths[::CONTROL])
    yield _claim("pages by their addresses", len(paths), found, shown)


def _links(french: Walk, both: Walk, _folder: Path) -> Iterator[Claim]:
    found, said = list[str](), 0
    for path in LINKS:
        found += [f"{path}: {', '.join(names)}" for names in [_opened(french, path)] if names]
        said += french.page.get_by_test_id("stAlert").count() > 0
    shown = sum(bool(_opened(both, path)) for path in LINKS[::CONTROL])
    yield _claim("links with codes of the other market", len(LINKS), found, shown)
    yield Claim(
        "A reader of one market: links with a code of the other are answered by saying that it is not known",
        f"{len(LINKS)}",
        f"{said}",
        said == len(LINKS),
    )


def _rows_and_files(french: Walk, both: Walk, folder: Path) -> Iterator[Claim]:
    rows, files = {}, {}
    for who, walk in (("french", french), ("both", both)):
        walk.open("products")
        walk.heard()
        walk.page.locator("[class*=st-key-products_rows] button").first.click()
        dialog = walk.page.get_by_role("dialog")
        dialog.get_by_test_id("stDataFrame").wait_for()
        walk.settle()
        rows[who] = walk.heard()
        (folder / who).mkdir()
        files[who] = [
            walk.take(dialog.get_by_role("button", name=name, exact=True), folder / who) for name in ("CSV", "Parquet")
        ]
        walk.page.keyboard.press("Escape")
    found = [", ".join(names)] if (names := _named(rows["french"])) else []
    yield _claim("the rows behind a number", 1, found, len(_named(rows["both"])) and 1)
    named = {who: [f.name for f in made if _named(f.read_bytes())] for who, made in files.items()}
    yield _claim("files of those rows", len(files["french"]), named["french"], len(named["both"]))


def _endpoint(settings: Settings) -> Claim:
    own, theirs = "the server's own", keys.make(settings, "erp")
    app = serve.application(settings, own)
    answers = {path: get(app, path, theirs) for path in ASKED}
    found = [path for path, (_, text) in answers.items() if MARK in text]
    german = answers[ASKED[-1]][0]
    found += [f"{ASKED[-1]}: {german}"] if german != 404 else []
    shown = sum(MARK in text or path == ASKED[-1] for path in ASKED for _, text in [get(app, path, own)])
    return _claim("the endpoint with their key", len(ASKED), found, shown)


def _command_line(settings: Settings) -> Claim:
    verbs = [v for v in every_part.VERBS if any(f"{v} ".startswith(f"{name} ") for name in options.READ_AS)]
    verbs = [v for v in verbs if v.split()[0] not in ("metrics", "mcp")]

    def said(verb: str, *who: str) -> str:
        _, out, err = every_part.command(*who, *verb.split(), "--warehouse", str(settings.warehouse))
        return out + err

    found = [verb for verb in verbs if MARK in said(verb, "--as", FRENCH)]
    shown = sum(MARK in said(verb) for verb in verbs)
    return _claim("verbs with `backhaul --as`", len(verbs), found, shown)


def _agents(settings: Settings) -> Claim:
    theirs: list[Any] = over_stdio(settings, *OF_FRANCE, reader=FRENCH)[1:]
    whole_shop: list[Any] = over_stdio(settings, *OF_FRANCE)[1:]
    told = [json.dumps(one.structured_content) for one in theirs]
    found = [name for (name, _), text in zip(OF_FRANCE, told, strict=True) if MARK in text]
    shown = sum(MARK in json.dumps(one.structured_content) for one in whole_shop)
    return _claim("questions of an agent by `backhaul mcp`", len(OF_FRANCE), found, shown)
