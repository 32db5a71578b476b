"""Parquet files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from pipelines.errors import SourceError
from pipelines.sources.base import Lines
from pipelines.sources.looks import shown
from pipelines.sources.tables.objects import unroll
from pipelines.sources.tables.parts import Part, branches_of, headings_of
from pipelines.warehouse.sql import FLOATING, in_order, name, read_sql, without_nan


def parquet_columns(connection: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """List the columns of a Parquet file."""
    return list(_parquet_types(connection, file))


def _parquet_types(connection: duckdb.DuckDBPyConnection, file: Path) -> dict[str, str]:
    try:
        described = connection.execute(f"DESCRIBE FROM {read_sql('parquet', file)}").fetchall()
    except duckdb.Error as error:
        raise SourceError(
            f"{shown(file)} is not a Parquet file that can be read: it is damaged or breaks off. Export it again."
        ) from error
    return {row[0]: str(row[1]) for row in described}


def stage_parquet(connection: duckdb.DuckDBPyConnection, stage: str, file: Path, read: Mapping[str, Any]) -> Part:
    """Stage the rows of a Parquet file."""
    types = _parquet_types(connection, file)
    if any("STRUCT(" in t or t.endswith("]") or t.startswith("MAP(") or t == "JSON" for t in types.values()):
        documents = f"FROM (SELECT to_json(rows) AS json FROM {read_sql('parquet', file)} rows)"
        path = [key for key in str(read.get("path", "")).split(".") if key]
        return unroll(connection, stage, file, documents, path, branches_of(read))
    texts = ", ".join(
        f"({without_nan(name(c)) if kind in FLOATING else name(c)})::VARCHAR AS c{i}"
        for i, (c, kind) in enumerate(types.items())
    )
    in_order(connection, [f"CREATE TEMP TABLE {stage} AS SELECT {texts} FROM {read_sql('parquet', file)}"])
    lines = Lines(lines=connection.execute(f"SELECT count(*) FROM {stage}").fetchall()[0][0])
    return Part(file.name, stage, {h: f"c{i}" for i, h in enumerate(headings_of(types))}, lines=lines)
