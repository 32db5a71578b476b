"""The page overview."""
