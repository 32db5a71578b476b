"""Values of Shopify's objects, read with care."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pipelines.sources.shopify_files import Object

ZERO = Decimal(0)
LARGEST = Decimal(10) ** 14  # what a log can hold
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


class Unreadable(Exception):
    """A number that is none; it is given as it is written, for the loader to quarantine its row."""

    def __init__(self, value: Any) -> None:
        self.value = str(value)[:60]


def object_in(value: Any) -> Object:
    """Give an object, empty for what is none."""
    return value if isinstance(value, dict) else {}


def objects_in(value: Any) -> list[Object]:
    """Give the objects of a list."""
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def text_in(value: Any) -> str | None:
    """Give a scalar as text; None for nothing and for what is no scalar."""
    return str(value).strip() or None if value is not None and not isinstance(value, (dict, list)) else None


def word_in(value: Any) -> str:
    """Give a text in lower case."""
    return (text_in(value) or "").lower()


def number_in(value: Any) -> Decimal:
    """Read a number."""
    if value is None or value == "":
        return ZERO
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise Unreadable(value) from None
    if isinstance(value, bool) or not number.is_finite() or abs(number) >= LARGEST:
        raise Unreadable(value)
    return number


def units_in(value: Any) -> int:
    """Give a number of units; 0 for nothing."""
    number = number_in(value)
    if number != int(number):
        raise Unreadable(value)
    return int(number)


def known_units_in(value: Any) -> int | None:
    """Give a number of units where there is one that can be read."""
    try:
        return None if value is None else units_in(value)
    except Unreadable:
        return None


def instant_in(value: Any) -> datetime:
    """Read a time to compare it with others; the beginning of time where there is none."""
    try:
        read_at = datetime.fromisoformat(str(value))
    except ValueError:
        return LONG_AGO
    return read_at if read_at.tzinfo else read_at.replace(tzinfo=UTC)


def money_in(holder: Object, field: str, *, kind: str = "presentment_money") -> Decimal:
    """Give an amount as the customer paid it.

    The set's presentment money, else its shop money, else the plain field.
    """
    of_set = object_in(holder.get(f"{field}_set"))
    money = object_in(of_set.get(kind)) or object_in(of_set.get("shop_money"))
    plain = holder.get(field)
    return number_in(money.get("amount", plain.get("amount") if isinstance(plain, dict) else plain))


def is_some(holder: Object, field: str) -> bool:
    """Say whether an amount is more than nothing; one that cannot be read is."""
    try:
        return money_in(holder, field) > 0
    except Unreadable:
        return True


def currency_in(holder: Object, field: str, otherwise: Any) -> str | None:
    """Give the currency of an amount."""
    of_set = object_in(holder.get(f"{field}_set"))
    money = object_in(of_set.get("presentment_money")) or object_in(of_set.get("shop_money"))
    return text_in(money.get("currency_code")) or text_in(otherwise)


def sum_in(parts: Iterable[Decimal]) -> Decimal:
    """Add up what is there."""
    return sum(parts, ZERO)


def id_in(holder: Any) -> str | None:
    """Give the id of an object, or an id that stands for one."""
    return text_in(holder.get("id")) if isinstance(holder, dict) else text_in(holder)


def sku_in(line: Object) -> str | None:
    """Give a line's SKU."""
    number = (
        text_in(line.get("variant_id")) or id_in(line.get("variant")) or text_in(line.get("product_id")) or id_in(line)
    )
    return (
        text_in(line.get("sku"))
        or text_in(object_in(line.get("variant")).get("sku"))
        or (f"variant-{number}" if number else None)
    )
