"""The local engine: a journal in one SQLite file that one process drives, or in memory."""

from otelier.workflows.engines.local._engine import LocalEngine, open_engine
from otelier.workflows.engines.local._options import Options

__all__ = ["LocalEngine", "Options", "open_engine"]
