"""Generate TPC-DS at a scale into a folder: each table as Parquet, and as CSV in `files` below it.

A program of its own: the extension of DuckDB that generates is of one version of it, and `make evidence` makes an
environment for both.
"""

import sys
from pathlib import Path

import duckdb
import duckdb_extension_tpcds

CHANNELS = ("store", "catalog", "web")


def main() -> None:
    folder, scale = Path(sys.argv[1]), float(sys.argv[2])
    (folder / "files").mkdir()
    extension = next(Path(duckdb_extension_tpcds.__file__).parent.rglob("*.duckdb_extension"))
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"LOAD '{extension}'; CALL dsdgen(sf = {scale})")
    for table in ("item", "date_dim", *(f"{c}_{t}" for c in CHANNELS for t in ("sales", "returns"))):
        connection.execute(f"COPY {table} TO '{folder / table}.parquet'")
        connection.execute(f"COPY {table} TO '{folder / 'files' / table}.csv' (HEADER)")


if __name__ == "__main__":
    main()
