"""Pages: a folder each, with what it asks, what it draws, its sentences and its script."""
