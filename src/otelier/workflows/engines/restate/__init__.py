"""The engine on a Restate server, for workers on several machines: the extra `restate`."""

from otelier.workflows.engines.restate._engine import RestateEngine, open_engine
from otelier.workflows.engines.restate._inspection import Inspection, WorkerSeen, inspect
from otelier.workflows.engines.restate._options import Options

__all__ = ["Inspection", "Options", "RestateEngine", "WorkerSeen", "inspect", "open_engine"]
