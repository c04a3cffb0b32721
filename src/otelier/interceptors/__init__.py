"""Interceptors: code that looks at an agent's run phase by phase, and may change or stop it."""

from __future__ import annotations

from otelier.interceptors._interceptor import InterceptContext, Interceptor, InterceptResult, Phase, StopExecution
from otelier.interceptors._mask_personal_data import MaskPersonalData
from otelier.interceptors._rate_limit import RateLimit
from otelier.interceptors._ready import AllowTools, Budget, Failover, RequireRole

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
