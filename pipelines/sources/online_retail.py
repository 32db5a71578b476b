"""Online Retail (UCI, doi 10.24432/C5BW33).

Invoice lines of a British gift wholesaler, one row a line, credits among them. Every row of the file goes to exactly
one log, so that rows read are rows of the file: what is sold or charged to `order_line`, goods credited (invoices that
begin with C) to `return_event`, other credits to `refund_line`. Amounts are quantity x unit price to four decimals;
credits are positive money given back, so sales minus credits is the file's own sum. Whether prices hold VAT is unknown:
`vat_amount` stays empty.

Rows equal in everything are kept, told apart by an occurrence number that ends their id: a cashier scans the same
article twice, and a credit note may credit the same line twice for two invoices. `repeated_lines` says what that choice
moves.
"""

from collections.abc import Iterator
from pathlib import Path

import duckdb

from pipelines.errors import SourceError
from pipelines.sources.base import Lines, NamedRows
from pipelines.sources.looks import shown
from pipelines.sources.tables.parquet import parquet_columns
from pipelines.sources.tables.parts import kind_of
from pipelines.sources.tables.text import csv_columns, stage_csv
from pipelines.warehouse.sql import connect, in_order, quote, read_sql

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
TIME_ZONE = "Europe/London"  # the file's times carry no zone; the shop is British
BEGINS = "2009-12-01"  # first month of the published series, the start of every derived product and of the shop
SHOP = "online-retail"

SHIPPING_CODES = ("POST", "DOT", "C2")  # postage, Dotcom postage, carriage
FEE_CODES = ("AMAZONFEE", "BANK CHARGES", "CRUK")  # marketplace, bank, and the commission of a charity
DISCOUNT_CODES = ("D",)
ADJUSTMENT_CODES = ("M", "S", "B", "ADJUST", "ADJUST2")  # manual, samples, bad debt, corrections
GIFT_CARD_PATTERN = r"^GIFT_"
TEST_PATTERN = r"^TEST"


COUNTRIES = {
    "Australia": "AU",
    "Austria": "AT",
    "Bahrain": "BH",
    "Belgium": "BE",
    "Bermuda": "BM",
    "Brazil": "BR",
    "Canada": "CA",
    "Channel Islands": "JE",
    "Cyprus": "CY",
    "Czech Republic": "CZ",
    "Denmark": "DK",
    "EIRE": "IE",
    "European Community": "EU",
    "Finland": "FI",
    "France": "FR",
    "Germany": "DE",
    "Greece": "GR",
    "Hong Kong": "HK",
    "Iceland": "IS",
    "Israel": "IL",
    "Italy": "IT",
    "Japan": "JP",
    "Korea": "KR",
    "Lebanon": "LB",
    "Lithuania": "LT",
    "Malta": "MT",
    "Netherlands": "NL",
    "Nigeria": "NG",
    "Norway": "NO",
    "Poland": "PL",
    "Portugal": "PT",
    "RSA": "ZA",
    "Saudi Arabia": "SA",
    "Singapore": "SG",
    "Spain": "ES",
    "Sweden": "SE",
    "Switzerland": "CH",
    "Thailand": "TH",
    "USA": "US",
    "United Arab Emirates": "AE",
    "United Kingdom": "GB",
    "West Indies": "ZZ",
    "Unspecified": "ZZ",
}
UNKNOWN_COUNTRY = "ZZ"


class OnlineRetail:
    """The Online Retail file, as Parquet or CSV."""

    name = "online_retail"
    version = "1"
    expects = f"the Online Retail table ({', '.join(COLUMNS)})"

    def recognises(self, files: list[Path]) -> bool:
        """Tell whether every file has the columns of the published table."""
        connection = connect(folders=[f.parent for f in files])
        try:
            return bool(files) and all(set(COLUMNS) <= set(_columns(connection, f)) for f in files)
        finally:
            connection.close()

    def name_rows(
        self, connection: duckdb.DuckDBPyConnection, files: list[Path], namespace: str
    ) -> Iterator[NamedRows]:
        """Give order lines, credited goods, other credits, and the derived products and shop."""
        lines = stage(connection, files)
        where = "_file, _line"
        yield NamedRows(
            "order_line",
            f"""SELECT line_id AS order_line_id, invoice AS order_id, booked_at AS ordered_at, product_id, quantity
                AS units, line_type,
                amount AS net_amount, 'GBP' AS currency, customer_id, country, '{SHOP}' AS shop_id, 'web' AS channel,
                    {where}
            FROM retail WHERE NOT is_credit""",
            lines=lines,
        )
        yield NamedRows(
            "return_event",
            f"""SELECT line_id AS event_id, line_id AS return_line_id, invoice AS return_id, 'credited' AS event,
                booked_at AS occurred_at,
                -quantity AS units, -amount AS amount, 'GBP' AS currency, product_id, customer_id, country, '{SHOP}'
                    AS shop_id, {where}
            FROM retail WHERE is_credit AND line_type = 'goods'""",
        )
        yield NamedRows(
            "refund_line",
            f"""SELECT line_id AS refund_line_id, invoice AS refund_id, booked_at AS refunded_at, 0 AS units, -amount
                AS amount,
                'GBP' AS currency, line_type AS restock_type, {where}
            FROM retail WHERE is_credit AND line_type <> 'goods'""",
        )
        yield NamedRows(
            "product",
            f"""SELECT product_id, TIMESTAMP '{BEGINS}' AS valid_from, product_id AS style_id, 'GBP' AS currency,
                arg_max(description, (booked_at, description)) AS name, max(booked_at) AS recorded_at,
                min(_file) AS _file, min(_line) AS _line
            FROM retail WHERE product_id IS NOT NULL AND description IS NOT NULL GROUP BY product_id""",
            is_derived=True,
        )
        yield NamedRows(
            "shop",
            f"""SELECT '{SHOP}' AS shop_id, TIMESTAMP '{BEGINS}' AS valid_from, 'GB' AS market, 'web' AS channel,
                'GBP' AS currency,
                '{TIME_ZONE}' AS time_zone, {quote(files[0].name)} AS _file, 1 AS _line""",
            is_derived=True,
        )
        connection.execute("DROP TABLE retail")


def _columns(connection: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    kind = kind_of(file)
    if kind == "parquet":
        try:
            return parquet_columns(connection, file)
        except SourceError:
            return []
    return csv_columns(connection, file) if kind == "csv" else []


def stage(connection: duckdb.DuckDBPyConnection, files: list[Path]) -> dict[str, Lines]:
    """Make the temporary table `retail`: every row typed, classified and identified; give the lines of text files.

    A row's id is its invoice, stock code, price, quantity, minute and occurrence: never its position in the file.
    """
    reads: list[str] = []
    lines: dict[str, Lines] = {}
    for file in files:
        missing = [c for c in COLUMNS if c not in _columns(connection, file)]
        if missing:
            raise SourceError(
                f"{shown(file)}: the column {missing[0]} of Online Retail is missing. Its columns are"
                f" {', '.join(COLUMNS)}."
            )
        picked = ", ".join(f'"{c}"::VARCHAR AS {c.lower()}' for c in COLUMNS)
        if kind_of(file) == "parquet":
            reads.append(
                f"SELECT {picked}, {quote(file.name)} AS _file, file_row_number + 1 AS _line FROM"
                f" {read_sql('parquet', file, 'file_row_number = true')}"
            )
        else:
            columns = csv_columns(connection, file)
            staged = stage_csv(connection, f"retail_{len(reads)}", file, len(columns))
            lines[file.name] = staged.lines
            picked = ", ".join(f"c{columns.index(c)} AS {c.lower()}" for c in COLUMNS)
            reads.append(
                f"SELECT {picked}, {quote(file.name)} AS _file, {staged.line} AS _line FROM retail_{len(reads)}"
            )
    countries = ", ".join(f"{quote(k)}: {quote(v)}" for k, v in COUNTRIES.items())

    def listed(codes: tuple[str, ...]) -> str:
        return ", ".join(quote(c) for c in codes)

    classified = _CLASSIFY.format(
        rows=" UNION ALL ".join(reads),
        zone=TIME_ZONE,
        countries=countries,
        unknown=UNKNOWN_COUNTRY,
        shipping=listed(SHIPPING_CODES),
        fees=listed(FEE_CODES),
        discounts=listed(DISCOUNT_CODES),
        adjustments=listed(ADJUSTMENT_CODES),
        gift=GIFT_CARD_PATTERN,
        test=TEST_PATTERN,
    )
    in_order(connection, [f"CREATE OR REPLACE TEMP TABLE retail AS {classified}"])
    for number in range(len(reads)):
        connection.execute(f"DROP TABLE IF EXISTS retail_{number}")
    return lines


_CLASSIFY = """
WITH rows AS ({rows}),
typed AS (
    SELECT upper(trim(invoiceno)) AS invoice, upper(trim(stockcode)) AS code, nullif(trim(description), '')
        AS description,
        try_cast(quantity AS BIGINT) AS quantity, try_cast(unitprice AS DECIMAL(18, 4)) AS price,
        coalesce(try_cast(invoicedate AS TIMESTAMP), try_strptime(invoicedate, '%m/%d/%Y %H:%M')) AS local_time,
        nullif(regexp_replace(trim(customerid), '\\.0$', ''), '') AS customer_id,
        coalesce(map {{{countries}}}[trim(country)], '{unknown}') AS country, _file, _line
    FROM rows),
judged AS (
    SELECT *, coalesce(left(invoice, 1) = 'C', false) AS is_credit,
        CASE WHEN left(invoice, 1) = 'A' THEN 'adjustment'
            WHEN code IN ({shipping}) THEN 'shipping' WHEN code IN ({fees}) THEN 'fee' WHEN code IN ({discounts})
                THEN 'discount'
            WHEN code IN ({adjustments}) OR regexp_matches(code, '{test}') THEN 'adjustment' WHEN regexp_matches(code,
                '{gift}') THEN 'gift_card'
            WHEN left(invoice, 1) = 'C' THEN 'goods'
            WHEN quantity < 0 AND price = 0 THEN 'write_off'
            WHEN quantity < 0 OR price < 0 THEN 'adjustment'
            WHEN price = 0 AND customer_id IS NULL AND max(price) OVER (PARTITION BY invoice) = 0 THEN 'adjustment'
            ELSE 'goods' END AS line_type
    FROM typed)
SELECT concat_ws('/', invoice, code, price, quantity, strftime(local_time, '%Y%m%dT%H%M'),
        row_number() OVER (PARTITION BY invoice, code, price, quantity, local_time ORDER BY description NULLS LAST,
            _file, _line)) AS line_id,
    invoice, CASE WHEN line_type = 'goods' THEN code END AS product_id, description, quantity, price, (quantity
        * price)::DECIMAL(18, 4) AS amount,
    timezone('UTC', timezone('{zone}', local_time)) AS booked_at, customer_id, country, is_credit, line_type, _file,
        _line
FROM judged
"""


def repeated_lines(connection: duckdb.DuckDBPyConnection, files: list[Path]) -> list[tuple[str, int, int, float]]:
    """Say what keeping equal rows moves: (sold or credited, rows beyond the first, their units, their amount)."""
    stage(connection, files)
    return connection.execute("""
        SELECT CASE WHEN is_credit THEN 'credited' ELSE 'sold' END, count(*), sum(abs(quantity))::BIGINT,
            sum(abs(amount))::DOUBLE
        FROM (SELECT *, row_number() OVER (PARTITION BY invoice, product_id, line_type, price, quantity, booked_at,
            description ORDER BY line_id) AS n FROM retail)
        WHERE n > 1 GROUP BY 1 ORDER BY 1
    """).fetchall()
