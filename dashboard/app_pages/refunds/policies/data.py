"""What the page policies asks; nothing is drawn here."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from dashboard.shared.memory import remembered
from dashboard.shared.queries import Source, days, opened, policy
from dashboard.shared.whole import changing, kept
from pipelines.people import policies, policy_text


@remembered
def policy_versions(asked: Source) -> pd.DataFrame:
    """List the versions of policies, newest first."""
    return policies.versions(opened(asked)).rename(columns={"market": "country"})


def policy_names(asked: Source) -> dict[str, str]:
    """Name each version: "policy-FR@2025-01-01" -> "policy-FR, 2025-01-01"; those in force first."""
    found = policy_versions(asked).sort_values("valid_to", na_position="first", kind="stable")
    return {
        f"{p.split(':', 1)[1]}@{d}": f"{p.split(':', 1)[1]} · {d}"
        for p, d in zip(found["policy_id"], found["valid_from"], strict=True)
    }


def policy_promises(asked: Source, version: str) -> pd.DataFrame:
    """List the promises of a version: promise_id, from_stage, to_stage, duration, duration_unit, responsible."""
    return promise_frame(policy(asked, version))


def promise_frame(chosen: policy_text.Policy) -> pd.DataFrame:
    """Lay the promises of a policy out, one a row."""
    names = ["promise_id", "from_stage", "to_stage", "duration", "duration_unit", "responsible"]
    return pd.DataFrame([asdict(p) for p in chosen.promises], columns=names)


def policy_changes(asked: Source, one: str, other: str) -> pd.DataFrame:
    """List what differs between two versions: field, first, second."""
    found = policies.compare(policy(asked, one), policy(asked, other))
    return pd.DataFrame(found, columns=["field", "first", "second"])


def new_policy(asked: Source, version: str | None) -> policy_text.Policy:
    """Give a version to begin a new one from, or an empty policy."""
    build = opened(asked)
    if version is not None:
        return policies.renewed(policy(asked, version), build)
    return policies.renewed(policy_text.Policy("policy", days(asked)[1], 30), build)


def policy_problems(asked: Source, given: policy_text.Policy) -> list[policies.Problem]:
    """List what stops a policy, and what should be thought about."""
    return policies.check(opened(asked), given)


def drafts(asked: Source) -> dict[int, str]:
    """List the drafts that are still written on: number and text."""
    found = kept(asked, policies.drafts)
    return dict(zip(found["draft_id"].astype(int), found["text"], strict=True))


def save_draft(asked: Source, given: policy_text.Policy, number: int | None) -> int:
    """Keep a policy as a draft."""
    return policies.save_draft(changing(asked, "policy_drafted"), policy_text.text(given), number)


def withdraw_draft(asked: Source, number: int) -> None:
    """Take a draft back; it stays on record."""
    policies.end_draft(changing(asked, "policy_draft_withdrawn"), number, "withdrawn")


def publish_policy(asked: Source, given: policy_text.Policy, number: int | None) -> str:
    """Publish a policy as a new version, by a load; gives the build. Raises PolicyError and what a load raises."""
    settings = changing(asked, f"policy_published:{given.policy_id}")
    report = policies.publish(settings, [given], opened(asked))
    if number is not None:
        policies.end_draft(settings, number, "published", report.build_id)
    return report.build_id or ""


def written_policy(options: dict[str, Any], edited: pd.DataFrame) -> policy_text.Policy:
    """Make a policy of what stands in a form; rows that are not whole yet are left out."""
    whole = edited.dropna()
    promises = tuple(
        policy_text.Promise(str(r[0]), str(r[1]), str(r[2]), float(r[3]), str(r[4]), str(r[5]))
        for r in whole.itertuples(index=False)
    )
    return policy_text.Policy(**options, promises=promises)


def policy_of_text(text: str) -> policy_text.Policy:
    """Read a draft back."""
    return policy_text.parse(text)[0]
