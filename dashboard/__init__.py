"""The pages: thin scripts that read metrics and draw them.

No number is computed here; `pipelines.metrics` declares each one.
"""
