"""Who may see what, and what they did: readers with their roles and scopes, and the log of it."""

from pipelines.access.readers import OWNER, Reader, Readers, load_readers

__all__ = ["OWNER", "Reader", "Readers", "load_readers"]
