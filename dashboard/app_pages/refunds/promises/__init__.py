"""The page promises."""
