"""Subscriptions: pages that are sent to their readers, daily, weekly, monthly or after each load.

`kept` holds what was subscribed to, `due` when it is sent, `sending` sends it. What is sent is made by the pages in a
process of its own (`dashboard/subscribed.py`), as the reader would see it at that moment.
"""

from pipelines.subscriptions.due import EVERY, newest_period
from pipelines.subscriptions.kept import (
    FILES,
    LISTED,
    PAGES,
    Subscription,
    add,
    check,
    edit,
    pause,
    subscriptions,
    withdraw,
)
from pipelines.subscriptions.sending import Outcome, send, waiting

__all__ = [
    "EVERY",
    "FILES",
    "LISTED",
    "PAGES",
    "Outcome",
    "Subscription",
    "add",
    "check",
    "edit",
    "newest_period",
    "pause",
    "send",
    "subscriptions",
    "waiting",
    "withdraw",
]
