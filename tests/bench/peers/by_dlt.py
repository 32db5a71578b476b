"""The loading part alone, as dlt's users write it: files into tables, merged by id, newest last."""

import os
import sys
from pathlib import Path

folder = Path(sys.argv[2])
os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "DLT_DATA_DIR": str(folder), "DLT_PROJECT_DIR": str(folder)}

import dlt  # noqa: E402
from dlt.sources.filesystem import filesystem, read_csv_duckdb, read_jsonl, read_parquet  # noqa: E402

files = Path(sys.argv[1])
TABLES = (
    ("order_line", "shop/order_line*.csv", read_csv_duckdb, "order_line_id"),
    ("event_carrier", "carrier/*.csv", read_csv_duckdb, "event_id"),
    ("event_stores", "stores/*.csv", read_csv_duckdb, "event_id"),
    ("event_portal", "portal/*.ndjson", read_jsonl, "event_id"),
    ("event_centre", "returns_centre/*.parquet", read_parquet, "event_id"),
    ("chain_element", "transport/*.parquet", read_parquet, "element_id"),
    ("refund", "finance/refund.csv", read_csv_duckdb, "refund_id"),
    ("refund_line", "finance/refund_line*.csv", read_csv_duckdb, "refund_line_id"),
)
pipeline = dlt.pipeline("peer", destination=dlt.destinations.duckdb(str(folder / "dlt.duckdb")), dataset_name="shop")
options = {read_csv_duckdb: {"use_pyarrow": True}, read_parquet: {"use_pyarrow": True}}
rows = []
for name, pattern, reader, key in TABLES:
    found = filesystem(bucket_url=files.absolute().as_uri(), file_glob=pattern) | reader(**options.get(reader, {}))
    rows.append(
        found.with_name(name).apply_hints(
            write_disposition="merge", primary_key=key, columns={"recorded_at": {"dedup_sort": "desc"}}
        )
    )
print(pipeline.run(rows))
