"""Who is notified of a source that is silent, loses rows or changes its columns: each problem once, as alerts are.

What the problems are is `load/scorecard`'s matter. Addresses and what they were told are remembered in the state.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing

from pipelines.delivery import FAILURES, Message, check_address, deliver, shown
from pipelines.links import link
from pipelines.settings import Settings
from pipelines.warehouse import state
from pipelines.warehouse.build import writing

TO, TOLD = "sources_to", "sources_told"


def recipients(settings: Settings) -> list[str]:
    """List the addresses that are notified of problems of sources."""
    with closing(state.State(settings.warehouse)) as state_file:
        return list(json.loads(state_file.value(TO) or "[]"))


def notify(settings: Settings, addresses: Sequence[str]) -> None:
    """Have these addresses notified from now on, and no others. Raises AlertError for what is no address."""
    for address in addresses:
        check_address(address)
    with writing(settings.warehouse, settings.short_wait_s), closing(state.State(settings.warehouse)) as state_file:
        state_file.remember(TO, json.dumps(sorted(set(addresses))))


def tell_problems(settings: Settings, problems: Mapping[str, str]) -> list[str]:
    """Notify each address of the problems it was not told of, by their keys; gives a sentence for each not reached.

    A problem that is gone is forgotten, and told again when it comes back. An address that cannot be reached is tried
    again the next time.
    """
    with closing(state.State(settings.warehouse)) as state_file:
        addresses = json.loads(state_file.value(TO) or "[]")
        told: dict[str, list[str]] = json.loads(state_file.value(TOLD) or "{}")
    failures, now = [], {}
    for address in addresses:
        known = [key for key in told.get(address, []) if key in problems]
        fresh = [key for key in problems if key not in known]
        now[address] = sorted({*known, *fresh})
        if not fresh:
            continue
        first = problems[fresh[0]]
        subject = f"Backhaul: {first}" if len(fresh) == 1 else f"Backhaul: {len(fresh)} problems of sources"
        where = link(settings, "sources", {})
        try:
            deliver(settings, address, Message(subject, [f"- {problems[key]}." for key in fresh], where))
        except FAILURES as error:
            failures.append(f"{shown(address)} could not be told of {len(fresh)} problems of sources: {error}.")
            now[address] = sorted(known)
    if now != told:
        with writing(settings.warehouse, settings.short_wait_s), closing(state.State(settings.warehouse)) as state_file:
            state_file.remember(TOLD, json.dumps(now))
    return failures
