"""Exporters: items they do not deliver, items that batch processors drop, and connections after a fork.

The SDK reports neither: a processor ignores the exporter's answer, and what finds its queue full it only logs. Its own
counts, where they are switched on, miss what is dropped while two threads put at once. So each batch processor counts
what comes in, each exporter what it is given and answers, and the difference is what was dropped.

Processors that are made while otelier is switched on are watched from their first item, whoever makes them and
whatever they are put into; older ones from the time when `init` or `flush` finds them on a provider.

See: https://github.com/open-telemetry/opentelemetry-python/issues/3152, which asks the SDK for such counts.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Sized
from typing import Any, Final, cast

from opentelemetry.metrics import MeterProvider

from otelier.faults import attempt, on_fork, on_reset, report_fault, warn_once
from otelier.patches import Patches, PatchPoint
from otelier.telemetry._losses import count_lost, lost, observe_losses, report_late, report_total
from otelier.telemetry._providers import innermost_provider, known_providers
from otelier.telemetry._sdk import batch_of, exporter_of, pipeline_parts, sessions_of

_SIGNALS: Final = {"on_end": "traces", "on_emit": "logs", "collect": "metrics"}
"""Signal of a processor or reader, by the public method that hands to it or asks it."""

_lock = threading.RLock()
_pipelines: weakref.WeakSet[_Pipeline] = weakref.WeakSet()
_watching = False
_reported = 0
"""Losses when a `flush` last answered: the next one answers for those since."""
_ABSENT: Final = object()


def start_watching_exports() -> None:
    """Watch the processors and readers that are made from now on; those on a provider by `watch_exports`."""
    global _watching
    _watching = True
    _patches.apply()


def stop_watching_exports() -> None:
    """Leave every processor and exporter as it was made; what was counted stays."""
    global _watching
    _watching = False
    _patches.remove()
    with _lock:
        pipelines = list(_pipelines)
        _pipelines.clear()
    for pipeline in pipelines:
        pipeline.release()


def watch_exports(provider: Any) -> None:
    """Watch what stands on *provider*, from now on, and let a meter provider report the losses; twice is once."""
    if not _watching:
        return
    if isinstance(provider, MeterProvider):
        attempt("telemetry.exports", observe_losses, provider)
    attempt("telemetry.exports", _watch_parts, provider)


def _watch_parts(provider: Any) -> None:
    for part in pipeline_parts(provider):
        _watch_part(part)


def reported_losses() -> int:
    """Return how much was lost when a `flush` last answered; for `all_delivered`."""
    return _reported


def all_delivered(reported: int) -> bool:
    """Tell whether no more was lost than was *reported* before, and the newest metrics have arrived."""
    global _reported
    with _lock:
        now = lost()
        _reported = max(_reported, now)
        late = any(pipeline.late and not pipeline.closing for pipeline in _pipelines)
        return now <= reported and not late


def renew_connections() -> None:
    """Let every OTLP exporter of the known providers that sends over HTTP connect anew, as a forked child must.

    See: https://github.com/open-telemetry/opentelemetry-python/issues/4994; to be dropped once that is mended.
    """
    try:
        for provider in known_providers():
            for part in pipeline_parts(innermost_provider(provider)):
                for session in sessions_of(exporter_of(part)):
                    for adapter in session.adapters.values():
                        # What pickling does: the settings are kept and the pools are new. The old pools are not closed,
                        # since a thread of the parent may hold their locks.
                        adapter.__setstate__(adapter.__getstate__())
    except Exception as exc:
        report_fault("telemetry.connections", exc)


class _Entrance:
    """Entrance of one batch processor: counts the items that came in, without a lock, and knows how many wait."""

    def __init__(self, batch: Any, queue: Sized) -> None:
        self.batch = batch
        self.emit: Callable[[Any], None] = batch.emit
        self.queue = queue
        self.begin(len(queue))

    def begin(self, waiting: int) -> None:
        """Count anew; *waiting* items have come before."""
        # To take a ticket is one step of the interpreter, 0.03 us; to know their number is to take one.
        self.tickets = itertools.count(waiting)
        self._asked = 0

    def entered(self) -> int:
        """Return how many items have come in; asked under the pipeline's lock."""
        number = next(self.tickets) - self._asked
        self._asked += 1
        return number


class _Pipeline:
    """One exporter, with the processors or the reader before it: what came in, and what was delivered."""

    def __init__(self, signal: str, exporter: Any) -> None:
        self.exporter = exporter
        self.late = False
        """Whether the newest metrics did not arrive."""
        self.closing = False
        self._signal = signal
        self._lock = threading.RLock()
        self._entrances: list[_Entrance] = []
        self._parts: list[Any] = []
        self._taken = 0
        self._dropped = 0
        self._undo: list[Callable[[], None]] = []
        self._observe_exports()

    def add(self, part: Any) -> None:
        """Count what comes into *part*, and what it still holds when it is shut down."""
        if any(known is part for known in self._parts):
            return
        self._parts.append(part)
        owner, name = part, "on_end" if self._signal == "traces" else "on_emit"
        found = batch_of(part)
        # Not that of its class: what hands on by `__getattr__` has none there.
        refuse: Any = getattr(cast("object", part), name, None)
        if found is not None:
            owner, name = found[0], "emit"
            refuse = self._observe_entrance(*found)
        shut_down = part.shutdown

        def closed(*args: Any, **kwargs: Any) -> Any:
            self.closing = True
            try:
                return shut_down(*args, **kwargs)
            finally:
                attempt("telemetry.exports", self._settle, at_rest=True)
                if refuse is not None and self._signal != "metrics":
                    attempt("telemetry.exports", self._count_late_comers, owner, name, refuse)
                report_total()

        self._replace(part, "shutdown", closed)

    def release(self) -> None:
        """Take the observers off again."""
        while self._undo:
            self._undo.pop()()

    def begin_anew(self) -> None:
        """Count from nothing, as a forked child does, whose queues the SDK empties."""
        self._lock = threading.RLock()
        self._taken = self._dropped = 0
        for entrance in self._entrances:
            entrance.begin(0)

    def _observe_exports(self) -> None:
        export = self.exporter.export

        def observed(*args: Any, **kwargs: Any) -> Any:
            batch = args[0] if args else next(iter(kwargs.values()), ())
            attempt("telemetry.exports", self._take, batch)
            try:
                answer = export(*args, **kwargs)
            except BaseException as exc:
                attempt("telemetry.exports", self._fail, batch, type(exc).__name__)
                raise
            # Each signal has an enum of its own for this. An exporter that answers nothing is believed.
            if getattr(answer, "name", None) == "FAILURE":
                attempt("telemetry.exports", self._fail, batch, "export_failed")
            else:
                self.late = False
                attempt("telemetry.exports", self._settle)
            return answer

        self._replace(self.exporter, "export", observed)

    def _observe_entrance(self, batch: Any, queue: Sized) -> Callable[[Any], None]:
        """Count what comes into *batch*, and return its `emit` as it was before."""
        known = next((known for known in self._entrances if known.batch is batch), None)
        if known is not None:
            return known.emit
        entrance = _Entrance(batch, queue)
        emit = entrance.emit

        def counted(item: Any) -> None:
            emit(item)
            # Afterwards: what has a ticket waits, was taken or was dropped, so the difference is never one too many.
            next(entrance.tickets)

        self._entrances.append(entrance)
        self._replace(batch, "emit", counted)
        return emit

    def _count_late_comers(self, owner: Any, name: str, refuse: Callable[[Any], None]) -> None:
        """Count what comes after shutdown, which the SDK refuses with a line of its own at most."""

        def refused(item: Any) -> None:
            taken = self._taken
            refuse(item)
            if self._taken == taken:  # an older SDK asks the exporter all the same, whose answer counts
                attempt("telemetry.exports", self._count_late_comer, item)

        self._replace(owner, name, refused)

    def _count_late_comer(self, item: Any) -> None:
        context = getattr(item, "context", None) if self._signal == "traces" else None
        if context is None or context.trace_flags.sampled:
            self._count("already_shutdown", 1)

    def _take(self, batch: Any) -> None:
        if self._signal != "metrics":
            with self._lock:
                self._taken += _size(batch)
            self._settle()

    def _fail(self, batch: Any, reason: str) -> None:
        if self._signal == "metrics":
            self._fail_metrics(batch, reason)
        else:
            self._count(reason, _size(batch))
            self._settle()

    def _fail_metrics(self, data: Any, reason: str) -> None:
        # A sum since the start comes again with the next collection; a difference does not, nor anything at the end.
        self.late = True
        points = sum(
            len(metric.data.data_points)
            for group in data.resource_metrics
            for scoped in group.scope_metrics
            for metric in scoped.metrics
            if self.closing or getattr(getattr(metric.data, "aggregation_temporality", None), "name", None) == "DELTA"
        )
        if points:
            self._count(reason, points)
        else:
            report_late(reason, type(self.exporter).__qualname__)

    def _settle(self, *, at_rest: bool = False) -> None:
        """Count what was dropped since the last time.

        It is asked where the batch processor holds its own lock and has nothing in hand: before and after an export,
        and after its shutdown. Two processors on one exporter hold two locks: they are asked at the end alone.
        """
        if not self._entrances or (len(self._entrances) > 1 and not at_rest):
            return
        with self._lock:
            # What comes between the two readings waits and was not counted: a loss may be seen late, never invented.
            entered = sum(entrance.entered() for entrance in self._entrances)
            waiting = 0 if at_rest else sum(len(entrance.queue) for entrance in self._entrances)
            new = entered - waiting - self._taken - self._dropped
            if new > 0:
                self._dropped += new
        self._count("shutdown" if at_rest else "queue_full", new)

    def _count(self, reason: str, count: int) -> None:
        count_lost(self._signal, reason, count, type(self.exporter).__qualname__)

    def _replace(self, owner: Any, name: str, observer: Callable[..., Any]) -> None:
        """Let *observer* stand for a method of this one *owner*, until `release`."""
        members = cast("dict[str, Any]", vars(owner))
        own = members.get(name, _ABSENT)
        setattr(owner, name, observer)

        def undo() -> None:
            if members.get(name) is not observer:
                return
            if own is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, own)

        self._undo.append(undo)


def _watch_part(part: Any) -> None:
    exporter = exporter_of(part)
    signal = next((signal for method, signal in _SIGNALS.items() if hasattr(part, method)), None)
    if exporter is None or signal is None:
        return
    try:
        with _lock:
            pipeline = next((known for known in _pipelines if known.exporter is exporter), None)
            if pipeline is None:
                pipeline = _Pipeline(signal, exporter)
                _pipelines.add(pipeline)
            pipeline.add(part)
    except (AttributeError, TypeError):
        kind, holder = type(exporter).__qualname__, type(part).__qualname__
        warn_once(
            f"telemetry.exports.{kind}",
            "Losses of %s are not all counted, and `flush` may not know of them: its objects, or those of %s, take no "
            "attributes. Everything is exported as before. Give their classes a `__dict__` to have losses counted.",
            kind,
            holder,
        )


def _size(batch: Any) -> int:
    return len(batch) if isinstance(batch, Sized) else 0


def _made(make: Callable[..., Any], part: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    make(*args, **kwargs)
    attempt("telemetry.exports", _watch_part, part)


_patches = Patches(
    (
        PatchPoint("opentelemetry.sdk.trace.export", "BatchSpanProcessor", "__init__", _made),
        PatchPoint("opentelemetry.sdk.trace.export", "SimpleSpanProcessor", "__init__", _made),
        PatchPoint("opentelemetry.sdk._logs.export", "BatchLogRecordProcessor", "__init__", _made),
        PatchPoint("opentelemetry.sdk._logs.export", "SimpleLogRecordProcessor", "__init__", _made),
        PatchPoint("opentelemetry.sdk.metrics.export", "PeriodicExportingMetricReader", "__init__", _made),
    ),
    place="telemetry.exports",
)


@on_fork
def _begin_anew() -> None:
    global _lock, _reported
    _lock = threading.RLock()
    _reported = 0
    for pipeline in list(_pipelines):
        pipeline.begin_anew()


@on_reset
def _forget() -> None:
    global _reported
    _reported = 0
