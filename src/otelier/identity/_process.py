"""The process's own name and environment, and the namespace that agent ids are derived from."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from otelier.faults import on_fork, on_reset, read_setting, warn_once
from otelier.settings import APP, ENV, RESOURCE_ATTRIBUTES, SERVICE_NAME

_UNKNOWN = "unknown_service"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """Name and environment of this process, once otelier is switched on."""

    app: str
    """Name of the process's own agent; the last tier of resolution."""
    env: str | None
    """Deployment environment; `None` when nothing names one."""
    named: bool
    """Whether *app* was given as such (`init(app=)`, `OTELIER_APP`) and not taken from the service's name."""


class _Names:
    """Names given to the process so far; written under the lock, read without."""

    def __init__(self) -> None:
        self.renew_lock()
        self.clear()

    def renew_lock(self) -> None:
        self.lock = threading.RLock()

    def clear(self) -> None:
        self.app: str | None = None
        self.env: str | None = None
        self.namespace: str | None = None
        self.identity: ProcessIdentity | None = None


_names = _Names()


def name_process(*, app: str | None = None, env: str | None = None) -> ProcessIdentity:
    """Name this process; `None` keeps the name given before, else the environment's.

    The first call makes the process's own agent the last tier of resolution. A later call only adds or
    replaces names; ids that were already handed out stay as they are.
    """
    with _names.lock:
        if app is not None:
            _names.app = app
        if env is not None:
            _names.env = env
        given = read_setting(APP, _names.app)
        _names.identity = ProcessIdentity(
            app=given or _service_name(), env=read_setting(ENV, _names.env), named=given is not None
        )
        late = app is not None and _names.namespace not in (None, app) and read_setting(APP) is None
    if late:
        warn_once(
            "identity.late_app",
            "init(app=%r) came after agents had got their ids in the namespace %r: ids stay derived from that, so "
            "they agree with those already sent. Call init() before the first set_context(), or set OTELIER_APP.",
            app,
            _names.namespace,
        )
    return _names.identity


def process() -> ProcessIdentity | None:
    """Return name and environment of this process, `None` while otelier is not switched on."""
    return _names.identity


def fix_namespace() -> str:
    """Return the text that agent ids are derived from; the first call fixes it for the process."""
    with _names.lock:
        if _names.namespace is None:
            _names.namespace = read_setting(APP) or _names.app or _service_name()
        return _names.namespace


def _service_name() -> str:
    """Return the service's name as OpenTelemetry finds it: its own variable, else the resource attributes."""
    name = SERVICE_NAME.value()
    if name is not None:
        return name
    for item in (RESOURCE_ATTRIBUTES.value() or "").split(","):
        key, _, value = item.partition("=")
        if key.strip() == "service.name" and value.strip():
            return value.strip()
    return _UNKNOWN


on_reset(_names.clear)
on_fork(_names.renew_lock)
