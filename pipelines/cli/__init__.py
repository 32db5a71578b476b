"""The command line: verbs by subject, one file each; options and output are shared."""

from pipelines.cli import actions, alerts, carbon, loading, margin, numbers, policies, promises, upkeep
from pipelines.cli.app import app, main

__all__ = [
    "actions",
    "alerts",
    "app",
    "carbon",
    "loading",
    "main",
    "margin",
    "numbers",
    "policies",
    "promises",
    "upkeep",
]
