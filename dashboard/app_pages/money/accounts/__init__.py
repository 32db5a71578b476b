"""The page accounts."""
