"""Words a reader sees: the strings of the screens, the metrics' texts, what is asked for, the help of the commands.

Each is read for code words, for words that the house does not use, for French left in English and for French
punctuation; the pages' code for text that is in no catalogue. `python -m pytest tests/test_words.py` takes seconds:
nothing is opened.
"""

import ast
import csv
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from dashboard.i18n import LANGUAGES, Words, catalogue, typographic
from pipelines import cli
from pipelines.metrics.catalogue import CATALOGUE
from pipelines.warehouse import vocabulary

ROOT = Path(__file__).parents[1]


class Said(NamedTuple):
    """A text, where it stands and in which language."""

    place: str
    language: str
    text: str


@cache
def screens() -> tuple[Said, ...]:
    """The strings of the screens as the pages show them, but for reasons, which metrics word."""
    return tuple(
        Said(f"{language}.toml {key}", language, text)
        for language in LANGUAGES
        for key, text in catalogue(language).items()
        if not key.startswith(("reason.", "screen."))
    )


@cache
def definitions() -> tuple[Said, ...]:
    """Names, sentences and parts of the metrics; parts are in English alone."""
    found = []
    for m in CATALOGUE:
        for kind, text in (("name", m.name), ("sentence", m.sentence)):
            found += [Said(f"{m.key} {kind}", language, getattr(text, language)) for language in LANGUAGES]
        parts = (("numerator", m.numerator), ("denominator", m.denominator), ("formula", m.formula))
        found += [Said(f"{m.key} {kind}", "en", part) for kind, part in parts if part]
    return tuple(found)


@cache
def requests() -> tuple[Said, ...]:
    """What a page asks others for, of data/facts.csv."""
    with (ROOT / "data" / "facts.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple(
        Said(f"facts.csv {r['fact']}", language, r[f"what_{language}"]) for r in rows for language in LANGUAGES
    )


@cache
def helps() -> tuple[Said, ...]:
    """The help of every command and of each of its options."""

    def walk(command: Any, path: str) -> Iterator[Said]:
        yield Said(path, "en", command.help or "")
        for parameter in command.params:
            if text := getattr(parameter, "help", None):
                yield Said(f"{path} {(parameter.opts or [parameter.name])[0]}", "en", text)
        for name, one in getattr(command, "commands", {}).items():
            yield from walk(one, f"{path} {name}")

    found = tuple(walk(typer.main.get_command(cli.app), "backhaul"))
    assert len(found) > 150
    return found


def everything() -> tuple[Said, ...]:
    """Every text a reader sees outside the documents."""
    return screens() + definitions() + requests() + helps()


def plain(text: str) -> str:
    """Take out what is code on purpose: `commands and columns`, {parts}, options, addresses, tags."""
    return re.sub(r"`[^`]*`|\{[^}]*\}|(?<!\w)--[\w-]+|\S+://\S*|<br>", "¤", text)


def found_in(said: tuple[Said, ...], pattern: re.Pattern[str], allowed: frozenset[str] = frozenset()) -> list[str]:
    """List the texts a pattern is found in, but for what is allowed."""
    return [
        f"{one.place}: {match[0]!r} in {one.text!r}"
        for one in said
        for match in pattern.finditer(plain(one.text))
        if match[0] not in allowed
    ]


CODE = re.compile(
    r"\b[A-Za-z]+(?:_[A-Za-z0-9]+)+\b"  # names of columns, tables and codes
    r"|\b(?:None|NaN|NULL|null|DataFrame|dtype|dict|tuple|boolean|bool|varchar|float|repr|kwargs|regex|SELECT|JOIN)\b"
    r"|\b[a-z]+[A-Z]\w*(?<!iLEAP)\b"  # camelCase
    r"|\b\w+/[\w/]*\.(?:py|csv|toml|sql|parquet)\b"
    r"|\b(?:fact|dim|estimate|build)\.\w+"
)
ON_PURPOSE = {
    "what an option takes": {
        *vocabulary.METHODS,
        *vocabulary.STAGES,
        *("size_note", "extra_shift", "carrier_call", "refund_now", "supplier_credit"),
        *("returned_units", "inspection_units", "refund_amount", "kg_co2e", "place_id"),
        *("style_id", "promise_id", "promise_at"),
    },
    "a source, as --source takes it": {"online_retail"},
    "variables of the environment": {"BACKHAUL_RAW_DAYS", "BACKHAUL_SMTP"},
    "a column of a file, which the reader writes": {
        *("return_flag", "product_id", "customer_id", "order_id", "net_amount", "discount_amount", "is_gift"),
        *("window_days", "fee_amount", "ordered_on"),
    },
}


def test_no_code_word_is_on_screen() -> None:
    assert found_in(screens() + definitions() + requests(), CODE) == []
    assert found_in(helps(), CODE, frozenset().union(*ON_PURPOSE.values())) == []


# What the house does not say, and what it says instead. A pattern that begins with ^ is of a whole text.
NOT_BUT = {
    "en": {
        r"^at (?:least|most)$": "lower bound, upper bound (90% interval)",
        r"said then|known now|back then": "estimated on {day}, actual",
        r"^came(?: since)?$|what came\b": "actual",
        r"fetch(?:es|ed)?\b": "recovered value",
        r"answers, hands and shelves": "approval, handling and restocking",
        r"beside the books": "not booked: opportunity and assumptions",
        r"next weeks under it": "forecast under this scenario",
        r"to the last digit": "no change selected",
        r"was it right": "back-test",
        r"how sure|\bsure to\b|\bsurely\b": "uncertainty, significantly",
        r"what it rests on|\brests? on\b": "data quality, assumptions",
        r"\busual\b": "category rate, typical, default",
        r"own part\b": "product effect",
        r"times usual|times as often": "ratio to category rate",
        r"parts? of the way|\bway back\b": "transport legs, return transport",
        r"grey(?:ed|s)\b": "not available",
        r"set aside|took aside": "quarantined",
        r"\btold\b|\btells?\b": "notified, shows",
        r"\ban? (?:unit|return) (?:sold|returned)\b|^a \w+$|more a return|kg a parcel": "per",
        r"(?:returns|km|EUR|refunds|units) an? (?:day|week|month|tonne)\b": "per",
        r"what (?:was|is) (?:done|sold|shown)\b|what became of\b|\bfates?\b": "the noun: action, sales, disposition",
        r"come back|came back|asked back|asked for\b": "returned, requested",
        r"beyond noise|within noise": "significant, not significant",
        r"undone\b": "reversed",
        r"\bcut by\b": "break down by",
        r"beats?\b|beaten\b": "is better than",
    },
    "fr": {
        r"^au (?:moins|plus)$": "borne inférieure, borne supérieure (intervalle à 90 %)",
        r"\bdit alors|connu maintenant|revenu alors": "estimé au {day}, réel",
        r"^(?:venu|arrivé depuis)$": "réel",
        r"ce que rapportent|^obtenu$": "valeur récupérée",
        r"gestes et rayons|gestes? manuels?": "acceptation, traitement et remise en stock",
        r"à côté des comptes": "non comptabilisé : opportunité et hypothèses",
        r"prochaines semaines avec": "prévision dans ce scénario",
        r"au dernier chiffre": "aucun changement sélectionné",
        r"était-ce juste": "test rétrospectif",
        r"^certitude$|\bsûrs?\b|sûrement|quelle certitude": "incertitude, significativement",
        r"repose(?:nt)? sur|^sur quoi": "qualité des données, hypothèses",
        r"\bhabituel(?:le)?s?\b(?! d'achat)|d'habitude\b|\busuel": "taux de la catégorie, valeurs courantes",
        r"part propre": "effet produit",
        r"fois l'habituel|fois plus souvent": "rapport au taux de la catégorie",
        r"parties? du trajet": "trajets",
        r"grisé": "non disponible",
        r"mis(?:es?)? de côté": "en quarantaine",
        r"dans le bruit|au-delà du bruit": "non significatif, significatif",
        r"\bsorts? (?:en|des articles)|selon leur sort|^sort$": "devenir des articles",
        r"découper|découpent par": "ventiler",
        r"\bnotées?\b|^noter": "enregistrer",
    },
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_words_are_those_of_the_house(language: str) -> None:
    said = tuple(one for one in everything() if one.language == language)
    wrong = [
        f"{line} -> {instead}"
        for pattern, instead in NOT_BUT[language].items()
        for line in found_in(said, re.compile(pattern, re.IGNORECASE))
    ]
    assert wrong == []


DOCUMENTS = ("README.md", "docs/alerts.md", "docs/carbon.md", "docs/coverage.md", "docs/margin.md")
IN_DOCUMENTS = re.compile(
    r"beside the books|said then|\bfetch(?:ed)?\b|grey(?:ed|s)\b|set aside|rests on|how sure|\bsurely\b|\btold\b"
    r"|own part|times usual|parts of the way|way back|was it right",
    re.IGNORECASE,
)


def test_the_documents_say_it_the_same_way() -> None:
    texts = tuple(
        Said(f"{name}:{number}", "en", line)
        for name in DOCUMENTS
        for number, line in enumerate((ROOT / name).read_text("utf-8").splitlines(), 1)
    )
    assert found_in(texts, IN_DOCUMENTS) == []


# Words and names that are written alike in both languages.
ALIKE = frozenset(
    {
        *("Action", "Actions", "Bus", "CSV", "Date", "Description", "Distance", "Excel", "France", "Grade"),
        *("Journal", "Notes", "Promotion"),
        *("Luxembourg", "Mode", "Note", "PDF", "PNG", "Pages", "Parquet", "Photo", "Portugal", "SVG", "Score", "Site"),
        *("Sites", "Source", "Sources", "Table", "Total", "Train", "Transport", "Type", "Version", "Web"),
        *("distances", "kg", "total", "Distance (km)", "kg CO2e", "{points} pt", "{points} pts"),
    }
)
ENGLISH = re.compile(
    r"\b(?:the|of|and|with|from|which|whose|is|are|was|were|be|been|has|have|had|by|to|for|this|that|its|their|not"
    r"|returned|returns|units|sold|days|month|rate|share|value|cost|open|orders|kept|broken|unknown|actual)\b",
    re.IGNORECASE,
)


def test_french_is_not_left_in_english() -> None:
    english, french = catalogue("en"), catalogue("fr")
    words = {key: plain(text) for key, text in french.items() if re.search(r"[^\W\d_]{2,}", plain(text))}
    alike = {french[key] for key in words if english[key] == french[key]}
    assert alike <= ALIKE, sorted(alike - ALIKE)
    assert alike == ALIKE, f"no longer alike: {sorted(ALIKE - alike)}"
    pairs = [(m.key, m.name) for m in CATALOGUE] + [(m.key, m.sentence) for m in CATALOGUE]
    assert [key for key, text in pairs if text.en == text.fr] == []
    assert found_in(tuple(one for one in everything() if one.language == "fr"), ENGLISH) == []


SPACES = " \u00a0\u202f"
UNSPACED = re.compile(rf"[^{SPACES}\d:][:;!?%»]|\d[;!?%»]|\d:(?!\d)|«[^{SPACES}]|(?<=[^{SPACES}])%")


def test_french_punctuation_has_its_spaces() -> None:
    with (ROOT / "dashboard" / "i18n" / "fr.toml").open("rb") as file:
        tables = tomllib.load(file)

    def strings(branch: dict[str, Any], path: str) -> Iterator[Said]:
        for name, value in branch.items():
            if isinstance(value, dict):
                yield from strings(value, f"{path}.{name}")
            else:
                yield Said(f"{path}.{name}", "fr", value)

    french = tuple(strings(tables, "fr.toml"))
    assert len(french) > 1500
    french += tuple(one for one in definitions() + requests() if one.language == "fr")
    wrong = [f"{one.place}: {one.text!r}" for one in french if UNSPACED.search(plain(one.text).replace("¤", "x"))]
    assert wrong == []


def test_the_spaces_before_french_punctuation_do_not_break() -> None:
    breaking = re.compile(r" [:;!?%»]|« ")
    shown = [
        *catalogue("fr").values(),
        *(Words("fr").either(*text) for m in CATALOGUE for text in (m.name, m.sentence)),
    ]
    assert [text for text in shown if breaking.search(re.sub(r"`[^`]*`", "", text))] == []
    assert typographic("non : 5 % ; « oui » ?").count("\u00a0") == 6


# Strings of the pages' code with a space in them that are in no catalogue.
LITERALS = {
    r":material/\w+: ?|\*\*|`|\u2060|:(?:orange|gray|red|green)\[([^\]]*)\]": "the marks of a page, taken out",
    '"cache", "storage"': "what a browser forgets at sign-out",
    "kg CO2e": "a unit, named by Words.unit",
    "kg CO2e per 100 units": "a unit, named by Words.unit",
    "promise ": "beginning of the name of a policy's term",
    "draft ": "beginning of a choice in the link",
    "top center": "a place in Plotly",
    "YYYY-MM-DD HH:mm": "a format of Streamlit",
    "Language · Langue": "the one label in both languages: it chooses between them",
    "These pages are for this machine alone: open them at http://localhost.": "a refusal before any language is known",
    "A page of another address may not use these pages.": "a refusal before any language is known",
    "Open the link that `backhaul dashboard` printed: it carries the token of these pages.\n"
    "Ouvrez le lien que `backhaul dashboard` a affiché : il porte le jeton de ces pages.": "in both languages",
}
SHOWN_BY = frozenset(
    {
        *("title", "header", "subheader", "caption", "markdown", "write", "text", "info", "warning"),
        *("success", "error", "badge", "metric", "button", "link_button", "form_submit_button"),
        *("download_button", "checkbox", "toggle", "radio", "selectbox", "multiselect", "segmented_control"),
        *("text_input", "text_area", "number_input", "date_input", "slider", "file_uploader", "expander"),
        *("popover", "dialog", "spinner", "status", "tabs"),
    }
)
NAMED = frozenset(
    {
        *("label", "help", "title", "title_text", "hovertext", "hovertemplate", "placeholder"),
        *("legend_title", "caption"),
    }
)
ICONS = re.compile(r":material/\w+:|:\w+\[|[*]+|\]|%\{[^}]*\}|<[^>]*>")


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Give the strings of a module that a reader might see: those with a space, and what is shown directly."""
    tree = ast.parse(path.read_text("utf-8"))
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            text = ICONS.sub("", node.value)
            if " " in text and re.search(r"[^\W\d_]{2,}", text):
                yield node.lineno, node.value
        elif isinstance(node, ast.Call):
            called = node.func
            is_streamlit = isinstance(called, ast.Attribute) and called.attr in SHOWN_BY and _is_st(called.value)
            shown = [*(node.args[:1] if is_streamlit else []), *(k.value for k in node.keywords if k.arg in NAMED)]
            for value in shown:
                for part in value.values if isinstance(value, ast.JoinedStr) else [value]:
                    if (
                        isinstance(part, ast.Constant)
                        and isinstance(part.value, str)
                        and re.search(r"[^\W\d_]{2,}", ICONS.sub("", part.value))
                    ):
                        yield node.lineno, part.value


def _is_st(node: ast.expr) -> bool:
    """Say whether this is Streamlit or a part of a page (`left.text_input`), not a module of ours."""
    return not (isinstance(node, ast.Name) and node.id in ("words", "columns", "charts", "figures", "parts", "data"))


def test_pages_show_only_what_the_catalogues_hold() -> None:
    home = ROOT / "dashboard"
    files = [path for path in sorted(home.rglob("*.py")) if path != home / "i18n" / "__init__.py"]
    assert len(files) > 40
    found = [
        (f"{path.relative_to(ROOT)}:{line}", text)
        for path in files
        for line, text in literals(path)
        if not text.startswith("default-src")  # the content policy
    ]
    assert [(place, text) for place, text in found if text not in LITERALS] == []
    assert set(LITERALS) - {text for _, text in found} == set(), "exceptions that no page needs any more"


def test_name_and_value_are_joined_by_the_words_of_the_language() -> None:
    """A colon between two parts of an f-string has no space before it in French: Words.pair writes it."""
    joined = []
    for path in sorted((ROOT / "dashboard").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr) and path.name != "__init__.py":
                parts = [p.value for p in node.values if isinstance(p, ast.Constant) and isinstance(p.value, str)]
                joined += [f"{path.relative_to(ROOT)}:{node.lineno}" for p in parts if re.match(r"\*{0,2}[:;] ", p)]
    assert joined == []
