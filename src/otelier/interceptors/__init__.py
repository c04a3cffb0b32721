"""Interceptors: code that looks at an agent's run phase by phase, and may change or stop it."""

from __future__ import annotations

from otelier.interceptors._allow_tools import AllowTools
from otelier.interceptors._budget import Budget
from otelier.interceptors._context import InterceptContext
from otelier.interceptors._failover import Failover
from otelier.interceptors._interceptor import Interceptor
from otelier.interceptors._mask_personal_data import MaskPersonalData
from otelier.interceptors._phase import Phase
from otelier.interceptors._rate_limit import RateLimit
from otelier.interceptors._require_role import RequireRole
from otelier.interceptors._result import InterceptResult
from otelier.interceptors._stop import StopExecution

__all__ = [
    "AllowTools",
    "Budget",
    "Failover",
    "InterceptContext",
    "InterceptResult",
    "Interceptor",
    "MaskPersonalData",
    "Phase",
    "RateLimit",
    "RequireRole",
    "StopExecution",
]
