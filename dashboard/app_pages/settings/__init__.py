"""The place Data and settings: whether the numbers can be trusted."""
