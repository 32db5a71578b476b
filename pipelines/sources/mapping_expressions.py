"""A mapping's expressions and conditions as SQL over the rows of one table."""

import difflib
import re
from typing import TYPE_CHECKING, Any

import duckdb
from sqlalchemy import Boolean, Date, DateTime, Double, Integer, Numeric

from pipelines.sources import values
from pipelines.sources.mapping_yaml import (
    ARITHMETIC,
    BLANKS,
    CHANGES,
    CONDITIONS,
    EXPRESSION_KEYS,
    HEADS,
    NO_WORDS,
    YES_WORDS,
    Source,
)
from pipelines.sources.tables import parts as parts_tables
from pipelines.warehouse import schema
from pipelines.warehouse.sql import quote
from pipelines.written import Items, Section

if TYPE_CHECKING:
    from pipelines.sources.mapping import Mapping


class Expressions:
    """Turns what stands behind a column into SQL over the rows `t`, and gathers what must be worked out for it."""

    def __init__(self, mapping: "Mapping", table: Section, main: Source) -> None:
        self.mapping, self.table, self.main = mapping, table, main
        self.sides: dict[str, Source] = {}
        self.zone: str | None = mapping.content.get("time_zone")
        self.constants: Section = mapping.content.get("constants") or Section()
        self.key = ""  # what the log at hand tells its things apart by
        self.is_day = False  # whether the column at hand is a day
        self.may_lack = False  # whether the column at hand is empty where the file lacks it
        self.windows: list[str] = []  # columns that look at several rows: numbers of equal keys, first and last times
        self.worked_out: dict[
            str, str
        ] = {}  # column -> SQL over the columns before it: windows, numbers and times read once
        self.is_joining = False  # the rows are not there yet: what is read is written where it is used
        self.filling = ""  # the log column at hand

    # -- which rows ----------------------------------------------------------------------------------------------------

    def _when(self, section: Section, key: str) -> str:
        """Give the SQL of a condition on rows; never NULL."""
        given, line = section[key], section.lines[key]
        if not isinstance(given, Section):
            column = self.reference(str(given), line)
            return (
                f"lower({text_sql(column)}) IS NOT NULL AND lower({text_sql(column)}) NOT IN"
                f" ({', '.join(map(quote, NO_WORDS))})"
            )
        for word, operator in (("all", " AND "), ("any", " OR ")):
            if word in given:
                self.mapping.allow(given, (word,), f"beside `{word}:`")
                if not isinstance(given[word], Items) or not given[word]:
                    raise self.mapping.wrong(given.lines[word], f"`{word}:` takes a list of conditions.")
                return operator.join(
                    f"({self._when_item(item, n)})" for item, n in zip(given[word], given[word].lines, strict=True)
                )
        self.mapping.allow(given, ("column", *CONDITIONS), "in a condition")
        words = [word for word in CONDITIONS if word in given]
        if "column" not in given or len(words) != 1:
            raise self.mapping.wrong(
                line,
                f"a condition has `column:` and one of {', '.join(CONDITIONS)}, or `all:` or `any:` with a list of"
                " conditions.",
            )
        word, wanted = words[0], given[words[0]]
        value = self._value(given["column"], given.lines["column"])
        if word in ("is", "is_not"):
            listed = wanted if isinstance(wanted, list) else [wanted]
            texts = ", ".join(quote("" if w is None else str(w).strip().lower()) for w in listed)
            return f"coalesce(lower({text_sql(value)}), '') {'NOT ' if word == 'is_not' else ''}IN ({texts})"
        if word == "pattern":
            return f"coalesce(regexp_matches({value}, {self._pattern(wanted, given.lines[word])[0]}), false)"
        if isinstance(wanted, bool) or not isinstance(wanted, int | float):
            raise self.mapping.wrong(given.lines[word], f"`{word}:` is a number.")
        number = self._number(value, given["column"])
        # what cannot be read is not left out unsaid: it goes on to be quarantined
        return f"coalesce({number} {'>' if word == 'above' else '<'} {wanted}, {self._said(value)} IS NOT NULL)"

    def _when_item(self, item: Any, line: int) -> str:
        section = Section()
        section["when"], section.lines["when"] = item, line
        return self._when(section, "when")

    # -- expressions ---------------------------------------------------------------------------------------------------

    def _find(self, column: str, line: int) -> tuple[Source, str] | None:
        """Find a column of the table, or of a joined one written `short.Column`: whose it is, and its SQL."""
        short, _, rest = column.partition(".")
        is_side = (
            bool(rest)
            and short in self.sides
            and parts_tables.plain(column) not in map(parts_tables.plain, self.main.table.headings)
        )
        source, heading = (self.sides[short], rest) if is_side else (self.main, column)
        try:
            found = source.table.column(heading)
        except parts_tables.OptionError as error:
            raise self.mapping.wrong(line, str(error)) from error
        for part in source.table.parts if found else ():
            filled = self.mapping.reads.setdefault(part.file, {}).setdefault(parts_tables.plain(heading), set())
            filled |= {self.filling} - {""}
        return (source, f"t.{source.prefix}{found}") if found else None

    def reference(self, column: str, line: int) -> str:
        """Give the SQL of a column of the table, or of a joined one written `short.Column`."""
        found = self._find(column, line)
        if found is not None:
            return found[1]
        if self.may_lack:
            return "NULL::VARCHAR"
        short, _, rest = column.partition(".")
        source, heading = (self.sides[short], rest) if rest and short in self.sides else (self.main, column)
        headings = source.table.headings
        near = [h for h in headings if h.endswith(f".{heading}")] or difflib.get_close_matches(heading, headings, 1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        if len(headings) == 1 and (parts := [s for s in parts_tables.SEPARATORS if s in headings[0]]):
            hint = f" Its cells are parted by `{'tab' if parts[0] == chr(9) else parts[0]}`: say so under `read:`."
        raise self.mapping.wrong(
            line, f"the table has no column `{heading[:60]}`.{hint} Its columns: {parts_tables.cut(headings)}."
        )

    def expression(self, given: Any, thing: str, column: str, line: int) -> str:
        """Compile what stands behind a canonical column into SQL that gives text."""
        kind = schema.LOG.tables[thing].columns[column].type
        self.is_day = isinstance(kind, Date)
        is_one = isinstance(given, str) or (isinstance(given, Section) and bool({"column", "join", "key"} & set(given)))
        is_needed = is_one and column != "occurred_at" and schema.LOG.tables[thing].columns[column].info["required"]
        self.may_lack = self.mapping.content.get("missing") == "empty" and not is_needed
        self.filling = f"{thing}.{column}"
        value = self._value(given, line)
        self.may_lack, self.filling = False, ""
        if isinstance(given, Section) and ("value" in given or "date" in given or "plus_days" in given):
            return value
        if isinstance(kind, (DateTime, Date)):
            return self._time(value, given)
        if isinstance(kind, (Integer, Numeric, Double)):
            if isinstance(given, Section) and (_is_arithmetic(given) or "number" in given):
                return value
            number = self._number(value, given)
            return f"CASE WHEN {number} IS NULL THEN {self._said(value)} ELSE {number}::VARCHAR END"
        if isinstance(kind, Boolean):
            return (
                f"CASE WHEN lower({text_sql(value)}) IN ({', '.join(map(quote, YES_WORDS))}) THEN 'true' WHEN"
                f" coalesce(lower({text_sql(value)}), '') IN ({', '.join(map(quote, NO_WORDS))}) THEN 'false' ELSE"
                f" {value} END"
            )
        if schema.LOG.tables[thing].columns[column].info["values"]:  # our own words, however the file capitalises them
            value = f"lower({value})"
        text = text_sql(value)
        return values.country_sql(text) if column in ("country", "market") else text

    def _value(self, given: Any, line: int) -> str:
        """Compile a column, a constant or a small expression into SQL that gives text."""
        if not isinstance(given, Section):
            if given is None or isinstance(given, list):
                raise self.mapping.wrong(line, "a column or an expression in braces stands here.")
            return self.reference(str(given), line)
        self.mapping.allow(given, EXPRESSION_KEYS, "in an expression")
        heads = [word for word in HEADS if word in given]
        if len(heads) != 1:
            raise self.mapping.wrong(line, f"an expression has one of: {', '.join(HEADS)}.")
        word = heads[0]
        value = self._head(given, word, given.lines[word])
        if word == "column":
            value = self._changed(given, value)
        elif any(change in given for change in CHANGES):
            raise self.mapping.wrong(
                line,
                f"`{word}:` goes through no {', '.join(c for c in CHANGES if c in given)}: write {{column: {{{word}:"
                " ...}, ...}.",
            )
        if "date" in given or "plus_days" in given:
            return self._time(value, given)
        return value

    def _head(self, given: Section, word: str, line: int) -> str:
        if word == "value":
            return quote(given["value"]) if given["value"] is not None else "NULL::VARCHAR"
        if word in ARITHMETIC:
            number, fault = self._figure(given, line)
            return f"coalesce({fault}, ({number})::VARCHAR)" if fault else f"({number})::VARCHAR"
        if word == "number":
            return f"{self._number(self._value(given['number'], line), given['number'])}::VARCHAR"
        if word == "optional":
            found = self._find(str(given["optional"]), line)
            return found[1] if found else "NULL::VARCHAR"
        if word in ("earliest", "latest"):
            return self._extreme(given, word)
        if word in ("first", "join", "key"):
            parts = [text_sql(self._value(p, line)) for p in self._parts(given, word)]
            if word == "first":
                return f"coalesce({', '.join(parts)})"
            if word == "key":
                if "by" in given and given["by"] != "document":
                    raise self.mapping.wrong(
                        given.lines["by"],
                        "`by:` of a key is `document`: rows are numbered within the document that lists them.",
                    )
                return self._natural_key(parts, is_of_document="by" in given)
            return f"nullif(concat_ws({quote(given.get('with', ' '))}, {', '.join(parts)}), '')"
        if word == "start":
            parts = self._parts(given, "start")
            if len(parts) != 2 or not isinstance(parts[1], int):
                raise self.mapping.wrong(
                    line, "`start:` takes a column and a number of letters: {start: [Postcode, 2]}."
                )
            return f"left({text_sql(self._value(parts[0], line))}, {parts[1]})"
        return self._value(given["column"], line)

    def _changed(self, given: Section, value: str) -> str:
        """Take a text through `replace:`, `pattern:` and `map:`, in this order."""
        for word in ("replace", "map"):
            if word in given and not isinstance(given[word], Section):
                raise self.mapping.wrong(given.lines[word], f"`{word}:` lists the words of the file, each with ours.")
        for old, new in (given.get("replace") or {}).items():
            value = f"replace({value}, {quote(old)}, {quote('' if new is None else new)})"
        if "pattern" in given:
            pattern, group = self._pattern(given["pattern"], given.lines["pattern"])
            value = f"nullif(regexp_extract({value}, {pattern}, {group}), '')"
        if "map" in given:
            cases = " ".join(f"WHEN {quote(k.strip().lower())} THEN {_literal(v)}" for k, v in given["map"].items())
            otherwise = _literal(given["otherwise"]) if "otherwise" in given else value
            return f"CASE lower({text_sql(value)}) {cases} ELSE {otherwise} END" if cases else otherwise
        return value

    def _pattern(self, pattern: Any, line: int) -> tuple[str, int]:
        """Give a pattern as SQL, and its first group, or 0 for the whole."""
        try:
            groups = re.compile(str(pattern)).groups
            self.main.table.connection.execute(f"SELECT regexp_matches('', {quote(pattern)})")
        except (re.error, duckdb.Error) as error:
            raise self.mapping.wrong(line, f"`{pattern}` is no pattern: {str(error).splitlines()[0][:100]}.") from error
        return quote(pattern), min(groups, 1)

    def _parts(self, given: Section, word: str) -> list[Any]:
        parts = given[word]
        if not isinstance(parts, list) or not parts:
            raise self.mapping.wrong(
                given.lines[word], f"`{word}:` takes a list, such as {word}: [first column, second column]."
            )
        return parts

    def _figure(self, given: Any, line: int) -> tuple[str, str | None]:
        """Compile a number: its SQL, and that of the text that is none, where a part is filled and cannot be read.

        An empty part of a sum counts as nothing, and a sum of empty parts is missing, unless a 0 stands among them;
        elsewhere an empty part leaves nothing.
        """
        if isinstance(given, int | float):
            return f"({given})", None
        if not isinstance(given, Section) or not _is_arithmetic(given):
            value = self._value(given, line)
            number = self._number(value, given)
            if isinstance(given, Section) and "number" in given:
                return number, None
            return number, f"CASE WHEN {number} IS NULL THEN {self._said(value)} END"
        word = next(w for w in ARITHMETIC if w in given)
        line = given.lines[word]
        parts = self._parts(given, word)
        figures = [self._figure(part, line) for part in parts]
        numbers = [number for number, _ in figures]
        faults = [fault for _, fault in figures if fault]
        if word == "sum":
            counts = [part == 0 or not isinstance(part, int | float) for part in parts]
            filled = [n for n, is_filled in zip(numbers, counts, strict=True) if is_filled]
            total = " + ".join(f"coalesce({n}, 0)" for n in numbers)
            number = f"CASE WHEN coalesce({', '.join(filled)}) IS NOT NULL THEN {total} END" if filled else total
        else:
            number = numbers[0]
            for other in numbers[1:]:
                other = f"nullif({other}, 0)" if word == "divide" else other
                number = f"try_cast({number} {ARITHMETIC[word]} {other} AS DECIMAL(28, 10))"
        return f"try_cast({number} AS DECIMAL(28, 10))", f"coalesce({', '.join(faults)})" if faults else None

    def _home(self, given: Any) -> Source:
        """Find the table whose way of writing holds for an expression: that of its first column."""
        if isinstance(given, Section):
            for word in HEADS:
                if word in given and word != "value":
                    parts = given[word] if isinstance(given[word], list) else [given[word]]
                    return next((self._home(p) for p in parts if not isinstance(p, int | float)), self.main)
            return self.main
        found = self._find(str(given), 0) if isinstance(given, str) else None
        return found[0] if found else self.main

    def _number(self, value: str, given: Any) -> str:
        """Give the SQL of the number that a text holds, as its table writes numbers; NULL when it holds none."""
        source = self._home(given)
        read = source.table.read
        currency = read.get("currency", [])
        body = values.number_sql(
            decimal=str(read.get("decimal", ".")),
            thousands=str(read.get("thousands", "")),
            currencies=[str(c) for c in (currency if isinstance(currency, list) else [currency])],
            own=self.constants.get("currency"),
            is_text=source.table.is_text,
        )
        return self._read(f"{source.macro(body)}({value})")

    def _said(self, value: str) -> str:
        """Give the SQL of a text where a number belongs; NULL where it says that there is none."""
        said = self._read(value) if re.search(r"\W", value.replace("t.", "", 1)) else value
        return self._read(f"CASE WHEN NOT {values.nothing_sql(said)} THEN {text_sql(said)} END")

    def _time(self, value: str, given: Any) -> str:
        """Give the SQL of the time that a text holds, as its table or the expression says that dates are written."""
        source = self._home(given)
        formats, plus = source.formats, None
        line = given.line if isinstance(given, Section) else 1
        if isinstance(given, Section) and "date" in given:
            formats = [str(d) for d in (given["date"] if isinstance(given["date"], list) else [given["date"]])]
            line = given.lines["date"]
        if isinstance(given, Section) and "plus_days" in given:
            plus = given["plus_days"]
            if not isinstance(plus, int):
                raise self.mapping.wrong(given.lines["plus_days"], "`plus_days:` is a whole number of days.")
        try:
            body = values.time_sql(formats, self.zone, is_day=self.is_day, plus_days=plus)
            is_tried, macro = body in source.macros, source.macro(body)
            if not is_tried:
                self.main.table.connection.execute(f"SELECT {macro}('1')")
        except duckdb.Error as error:
            place = line if isinstance(given, Section) and "date" in given else self._dates_line()
            raise self.mapping.wrong(
                place, f"{parts_tables.cut(formats)} is no way to write a date: {str(error).splitlines()[0][:100]}."
            ) from error
        return self._read(f"{macro}({value})")

    def _dates_line(self) -> int:
        return self.table.lines.get("dates", self.mapping.content.lines.get("dates", 1))

    def _extreme(self, given: Section, word: str) -> str:
        """Give the SQL of the earliest or latest time among the rows of one thing; a time that cannot be read stays."""
        line = given.lines[word]
        by = text_sql(self._value(given["by"], given.lines["by"])) if "by" in given else self.key
        if not by or "t.o" in by:
            raise self.mapping.wrong(line, f"`{word}:` needs `by:`, the column that says which rows belong together.")
        text = self._value(given[word], line)
        text = self._time(text, given[word])
        condition = self._when(given, "when") if "when" in given else "TRUE"
        instant = f"try_cast({text} AS TIMESTAMPTZ)"
        way = "arg_min" if word == "earliest" else "arg_max"
        found = self._window(f"{way}({text}, {instant}) FILTER (WHERE {condition}) OVER (PARTITION BY {by})")
        is_unread = f"{instant} IS NULL AND {text_sql(text)} IS NOT NULL AND ({condition})"
        return f"CASE WHEN {is_unread} THEN {text} ELSE {found} END"

    def _natural_key(self, parts: list[str], *, is_of_document: bool = False) -> str:
        """Make an id of a natural key and an occurrence number in its file.

        Equal keys are told apart by their rows' content. Exports overlap: a row that two files hold is one row, and so
        is one of a list whose whole document comes twice in a file. With `is_of_document` they are numbered within
        their document: another one with the same key is a later state of the same rows.
        """
        content = ", ".join(f"t.{c}" for c in self.main.table.content())
        listed = ", ".join(parts)
        copy = "".join(f", t.{c}" for c in self.main.table.copies(are_all_told_apart=is_of_document))
        number = self._window(f"row_number() OVER (PARTITION BY {listed}, t._file{copy} ORDER BY {content})")
        return f"concat_ws('/', {listed}, {number})"

    def _window(self, sql: str) -> str:
        """Give the column that holds what looks at several rows: worked out before a log leaves any row out."""
        if sql not in self.windows:
            self.windows.append(sql)
            self.worked_out[f"o{len(self.windows) - 1}"] = sql
        return f"t.o{self.windows.index(sql)}"

    def _rests_on(self, sql: str, text: str) -> bool:
        """Say whether an expression, or a column worked out that it uses, holds a text."""
        return text in sql or any(text in self.worked_out[name] for name in self._used(sql))

    def _is_lacking(self, sql: str) -> bool:
        """Say whether an expression is a column that no file has, which says nothing and leaves nothing blank."""
        return self.worked_out.get(sql.removeprefix("t."), sql).endswith("(NULL::VARCHAR)")

    def _read(self, sql: str) -> str:
        """Give the column that holds what was read.

        Written out in each place, one reading inside another would grow beyond bounds.
        """
        if self.is_joining:
            return sql
        name = next((n for n, known in self.worked_out.items() if known == sql), f"r{len(self.worked_out)}")
        self.worked_out[name] = sql
        return f"t.{name}"

    def _used(self, sql: str) -> set[str]:
        """Name the columns worked out that an expression rests on."""
        used = {n for n in re.findall(r"\bt\.([or]\d+)\b", sql) if n in self.worked_out}
        return used.union(*(self._used(self.worked_out[n]) for n in used))


def _is_arithmetic(given: Section) -> bool:
    return any(word in given for word in ARITHMETIC)


def _literal(value: Any) -> str:
    return "NULL" if value is None else quote(value)


def text_sql(value: str) -> str:
    """Give the SQL of a text without the blanks around it; NULL when nothing is left."""
    return f"nullif(trim({value}, {BLANKS}), '')"
