"""Shards: parts of a shop that share no order, return, parcel or customer, worked through one after another.

Here: how statements that name a table are shown one shard of it. Not here: which row is of which shard
(load/shape/routing). The one idea: in the tables of a build the rows of a shard stand one behind the other, so a shard
is a range of rows, and what reads a build knows nothing of shards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import duckdb

from pipelines.warehouse.sql import name as name_sql


@dataclass
class Shards:
    """How many shards a build is made in, and where the rows of each end in the tables that were filled by shard."""

    count: int = 1
    ends: dict[str, list[int]] = field(default_factory=dict)

    def each(
        self, connection: duckdb.DuckDBPyConnection, shown: Sequence[str] = (), filled: Sequence[str] = ()
    ) -> Iterator[int]:
        """Go through the shards: meanwhile `shown` are the rows of one, and what is inserted in `filled` is noted.

        With one shard everything is shown as it is.
        """
        if self.count == 1:
            yield 0
            return
        here = _here(connection)
        for shard in range(self.count):
            for table in shown:
                ends = [0, *self.ends[table]]
                rows = f"rowid >= {ends[shard]} AND rowid < {ends[shard + 1]}"
                connection.execute(f"CREATE OR REPLACE TEMP VIEW {table} AS FROM {here}.{table} WHERE {rows}")
            try:
                yield shard
            finally:
                for table in shown:
                    connection.execute(f"DROP VIEW temp.{table}")
            self._note(connection, filled)

    def each_apart(self, connection: duckdb.DuckDBPyConnection, filled: Sequence[str]) -> Iterator[int]:
        """Go through the shards: meanwhile the tables `filled` are empty, and what is inserted goes to the build after.

        So statements that read what they have just filled see their shard alone. With one shard they fill the build.
        """
        if self.count == 1:
            yield 0
            return
        here = _here(connection)
        for shard in range(self.count):
            for table in filled:
                connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS FROM {here}.{table} LIMIT 0")
            yield shard
            for table in filled:
                connection.execute(f"INSERT INTO {here}.{table} FROM temp.{table}; DROP TABLE temp.{table}")
            self._note(connection, filled)

    def _note(self, connection: duckdb.DuckDBPyConnection, filled: Sequence[str]) -> None:
        for table in filled:
            (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0]
            self.ends.setdefault(table, []).append(rows)


def _here(connection: duckdb.DuckDBPyConnection) -> str:
    """Name the build that a connection is open on: its tables stand behind temporary ones of the same name."""
    return f"{name_sql(connection.execute('SELECT current_database()').fetchall()[0][0])}.main"
