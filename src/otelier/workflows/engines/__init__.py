"""Engines: what keeps runs, and begins their bodies again."""
