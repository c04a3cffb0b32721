"""The local engine: a journal in one SQLite file that one process drives, or in memory."""

from otelier.workflows.engines.local._attendance import Attendance, attendance
from otelier.workflows.engines.local._engine import LocalEngine, open_engine
from otelier.workflows.engines.local._options import Options

__all__ = ["Attendance", "LocalEngine", "Options", "attendance", "open_engine"]
