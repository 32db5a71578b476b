"""The command `backhaul`."""

from pipelines.cli import main

__all__ = ["main"]
