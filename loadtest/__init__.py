"""Loads a discgrade server as hospitals do, and more: ``python -m loadtest`` (docs/load.md)."""
