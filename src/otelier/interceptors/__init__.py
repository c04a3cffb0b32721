"""Interceptors: code that looks at an agent's run phase by phase, and may change or stop it."""

from __future__ import annotations

from otelier.interceptors._context import InterceptContext
from otelier.interceptors._failover import Failover
from otelier.interceptors._guards import AllowTools, Budget, RequireRole
from otelier.interceptors._interceptor import Interceptor
from otelier.interceptors._phase import Phase
from otelier.interceptors._result import InterceptResult
from otelier.interceptors._stop import StopExecution

__all__ = [
    "AllowTools",
    "Budget",
    "Failover",
    "InterceptContext",
    "InterceptResult",
    "Interceptor",
    "Phase",
    "RequireRole",
    "StopExecution",
]
