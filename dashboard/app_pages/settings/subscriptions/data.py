"""What the page subscriptions asks and changes; nothing is drawn here."""

from zoneinfo import available_timezones

from dashboard.shared import access
from dashboard.shared.queries import Source
from pipelines import subscriptions
from pipelines.access import load_readers
from pipelines.delivery import shown
from pipelines.errors import AccessError, SubscriptionError
from pipelines.settings import Settings
from pipelines.subscriptions import Subscription
from pipelines.why import why

EVERY, FILES, LISTED, PAGES = subscriptions.EVERY, subscriptions.FILES, subscriptions.LISTED, subscriptions.PAGES
SHOWN_ADDRESS = shown
TABLES = ("xlsx", "csv")
LAST_DAY = 28


def own_name() -> str:
    """Give the name that the reader's subscriptions are kept under; nothing for the owner of the warehouse."""
    return access.current().name if access.is_on() else ""


def can_hold() -> bool:
    """Say whether this reader may have a subscription: who is known by a group cannot be looked up later."""
    return access.may("save") and access.current().kind != "group"


def listed(asked: Source) -> list[Subscription]:
    """List the subscriptions that this reader may see: their own; all of them for who may change everybody's."""
    whose = None if access.may("change") else own_name()
    return subscriptions.subscriptions(Settings(asked.warehouse), reader=whose)


def readers(asked: Source) -> list[str]:
    """List who a subscription may be for: the reader; for who may change everybody's, everybody of the file."""
    own = own_name()
    if not access.may("change"):
        return [own]
    known = [one.name for one in load_readers(Settings(asked.warehouse)).every if one.kind != "key"]
    return list(dict.fromkeys([own, *known]))


def zones() -> list[str]:
    """List the clocks there are."""
    return sorted(available_timezones())


def problem(asked: Source, one: Subscription, before: tuple[str, ...]) -> SubscriptionError | None:
    """Say what is wrong with a subscription, and with which field; None when it can be sent."""
    try:
        subscriptions.check(Settings(asked.warehouse), one)
    except SubscriptionError as error:
        return error
    reader = access.current()
    foreign = [address for address in one.to if address not in before and not reader.may_send_to(address)]
    return SubscriptionError(shown(foreign[0]), "foreign") if foreign else None


def save(asked: Source, one: Subscription) -> None:
    """Keep a new subscription, or change one that is there; raises BackhaulError with what is wrong."""
    settings = _settings(asked, one, "saved")
    if one.subscription_id:
        subscriptions.edit(settings, one)
    else:
        subscriptions.add(settings, one, access.current().name)


def pause(asked: Source, one: Subscription, *, is_paused: bool) -> None:
    """Stop sending for a while, or go on."""
    settings = _settings(asked, one, "paused" if is_paused else "resumed")
    subscriptions.pause(settings, one.subscription_id, is_paused=is_paused)


def withdraw(asked: Source, one: Subscription) -> None:
    """End a subscription."""
    subscriptions.withdraw(_settings(asked, one, "withdrawn"), one.subscription_id)


def _settings(asked: Source, one: Subscription, what: str) -> Settings:
    """Give the settings for a change of a subscription, and write it down; raises AccessError for another's."""
    settings = Settings(asked.warehouse)
    reader = access.check("save")
    known = {kept.subscription_id: kept.reader for kept in subscriptions.subscriptions(settings)}
    whose = {one.reader, known.get(one.subscription_id, one.reader)}
    if (whose != {own_name()} and not reader.may("change")) or reader.kind == "group":
        raise AccessError(why("not_allowed", role=reader.role, right="change"))
    access.saved(f"subscription_{what}:{one.subscription_id or one.page}")
    return settings
