"""Tables asked of another database."""

import re

import duckdb

from pipelines.sources.tables.parts import OptionError, Part, headings_of, keep_rows
from pipelines.sources.tables.workbook import text_of

READ_ONLY = {  # databases a mapping may ask, each with the statement that forbids its transaction to write
    "postgresql": "SET TRANSACTION READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
    "oracle": "SET TRANSACTION READ ONLY",
    "sqlite": "PRAGMA query_only = ON",
}


def stage_query(connection: duckdb.DuckDBPyConnection, stage: str, url: str, query: str, name_shown: str) -> Part:
    """Stage the rows of one SELECT as texts, read in a transaction that cannot write and is not committed.

    Raises OptionError of `query` when it is anything else or the database refuses it, of `url` for a database that is
    not in `READ_ONLY`: an engine that reads and writes files would give a mapping the machine.
    """
    import sqlalchemy

    statement = query.strip().rstrip(";").strip()
    bare = re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`", "''", statement)
    if ";" in bare or not re.match(r"(?i)(select|with)\b", bare) or re.search(r"(?i)\binto\b", bare):
        raise OptionError("query", "a query is one SELECT, into nothing.")
    try:
        address = sqlalchemy.make_url(url)
        kind = address.get_backend_name()
        if kind not in READ_ONLY:
            raise OptionError("url", f"a {kind} database cannot be asked. These can: {', '.join(READ_ONLY)}.")
        engine = sqlalchemy.create_engine(address)
        with engine.connect().execution_options(stream_results=True) as reader:
            reader.exec_driver_sql(READ_ONLY[kind])
            result = reader.execute(sqlalchemy.text(statement))
            headings = headings_of(list(result.keys()))
            keep_rows(connection, stage, headings, enumerate(([text_of(v) for v in row] for row in result), start=1))
            reader.rollback()
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        cause = str(getattr(error, "orig", error)).splitlines()[0]
        raise OptionError("query", f"the query failed: {cause[:200]}") from error
    return Part(name_shown, stage, {h: f"c{i}" for i, h in enumerate(headings)}, line="_line")
