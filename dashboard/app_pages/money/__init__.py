"""The place Money: where the margin went, what to book, what would change it."""
