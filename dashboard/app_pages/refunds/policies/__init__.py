"""The page policies."""
