"""The command line: verbs by subject, one file each; options and output are shared. Help text is the reference.

How a run ends and what it says on the way is in `console`; results go to standard output.
"""

from importlib import import_module

from pipelines.cli.app import app, main

__all__ = ["app", "main"]

for subject in (
    "loading",
    "pulling",
    "live",
    "upkeep",
    "quarantine",
    "history",
    "sources",
    "numbers",
    "promises",
    "models",
    "policies",
    "margin",
    "carbon",
    "actions",
    "work",
    "alerts",
    "subscriptions",
    "plan",
    "tools",
    "access",
):
    import_module(f"{__name__}.{subject}")  # verbs are listed in this order
