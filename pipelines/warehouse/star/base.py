"""The metadata that holds the star, and how its tables are written down."""

from typing import Any

from sqlalchemy import BigInteger, Column, MetaData, Table

from pipelines.warehouse.vocabulary import Kind

STAR = MetaData()


def star_table(name: str, grain: str, *columns: Column[Any]) -> Table:
    """Declare a table of the star: its name, what one row is, its columns."""
    return Table(name, STAR, *columns, comment=grain)


def column(name: str, kind: Kind, comment: str) -> Column[Any]:
    """Declare a column."""
    return Column(name, kind, comment=comment)


def key_column(name: str, what: str) -> Column[Any]:
    """Declare a key of something."""
    return Column(name, BigInteger, comment=f"Key of {what}: first 63 bits of its id's md5", autoincrement=False)
