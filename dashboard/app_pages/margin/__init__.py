"""The page margin."""
