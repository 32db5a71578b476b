"""What `sql:` of a mapping may say: a table or a query of a database, and the file that its rows are read from.

Asking is in `tables.query`, what was read up to now in `pipelines.load.queries`.
"""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.errors import MappingError
from pipelines.written import Section

if TYPE_CHECKING:
    from pipelines.sources.mapping import Mapping

KEYS = ("url", "table", "query", "cursor", "overlap")


@dataclass(frozen=True)
class Query:
    """One table of a mapping that is asked of a database.

    `url` names the environment variable with the address. Either `table` (with its schema before a dot) or `select`,
    one SELECT, says which rows. Rows are read again from `overlap` (seconds of a time, else a number) before the
    greatest value of `cursor` that was read; without a cursor all are.
    """

    number: int
    url: str
    table: str | None
    select: str
    cursor: str | None
    overlap: float
    lines: dict[str, int] = field(default_factory=dict, compare=False)

    @property
    def file(self) -> str:
        """Name of the file its rows land in, which no pattern of another table means."""
        plain = re.sub(r"[^A-Za-z0-9]+", "_", self.table or "query").strip("_")
        return f"{plain or 'table'}-{self.number}.sql.parquet"


def query_of(mapping: "Mapping", table: Section, number: int) -> Query:
    """Read `sql:` of the table of this number, from 1. Raises MappingError with the line of what does not fit."""
    said = table["sql"]
    if not isinstance(said, Section) or "url" not in said or ("query" in said) == ("table" in said):
        raise mapping.wrong(
            table.lines["sql"],
            "`sql:` has `url:` (the name of an environment variable) and `table:` or `query:`.",
        )
    mapping.allow(said, KEYS, "under `sql:`")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(said["url"])):
        raise mapping.wrong(
            said.lines["url"],
            "`url:` names the environment variable that holds the database's address, such as SHOP_DATABASE: a"
            " mapping holds no password.",
        )
    overlap = said.get("overlap", 0)
    if isinstance(overlap, bool) or not isinstance(overlap, int | float) or overlap < 0:
        raise mapping.wrong(
            said.lines["overlap"],
            "`overlap:` is a number: so many seconds before the last time of the cursor, or so much before its number.",
        )
    if "overlap" in said and "cursor" not in said:
        raise mapping.wrong(said.lines["overlap"], "`overlap:` belongs to a `cursor:`; this query has none.")
    name = str(said["table"]) if "table" in said else None
    cursor = str(said["cursor"]) if said.get("cursor") is not None else None
    return Query(number, str(said["url"]), name, str(said.get("query", "")), cursor, float(overlap), dict(said.lines))


def wrong_of(mapping: "Mapping", query: Query, option: str, sentence: str) -> MappingError:
    """Make the error for what a query's `option` says."""
    option = "table" if option == "query" and query.table else option
    return mapping.wrong(query.lines.get(option, query.lines.get("url", 1)), sentence)


def whole_text(mapping: "Mapping") -> str:
    """Give the text of a mapping as if it said `export: whole`; the same where it says so."""
    if mapping.export.is_whole:
        return mapping.text
    lines = mapping.text.splitlines()
    if "export" in mapping.content:
        lines[mapping.content.lines["export"] - 1] = "export: whole"
    else:
        lines.append("export: whole")
    return "\n".join(lines) + "\n"
