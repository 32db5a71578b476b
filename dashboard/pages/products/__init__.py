"""The page products."""
