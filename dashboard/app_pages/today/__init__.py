"""The place Today: what changed, and what to do first."""
