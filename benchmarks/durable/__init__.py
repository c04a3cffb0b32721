"""Figures of workflows, beside DBOS on SQLite: `serving` is what both sides do, the others are parts of one run."""
