"""`init()`, for programs that switch otelier on themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from re import Pattern
from typing import Any

from opentelemetry._logs import LoggerProvider
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from otelier import baggage
from otelier.errors import SettingError
from otelier.faults import report_fault
from otelier.fields import be_strict
from otelier.identity import Fingerprint, ProcessIdentity, name_process, prompt_fingerprint, use_fingerprint
from otelier.redaction import set_redactions
from otelier.settings import DISABLED, MAX_NAME_CHARS, check_ours
from otelier.setup import _activation, _configurator
from otelier.telemetry import use_providers


def init(
    app: str | None = None,
    env: str | None = None,
    *,
    propagate_to: Iterable[str] | None = None,
    trust_inbound: bool | None = None,
    fingerprint: Fingerprint | None = prompt_fingerprint,
    redact: Iterable[str | Pattern[str] | Callable[[str], str]] | None = None,
    strict: bool | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    logger_provider: LoggerProvider | None = None,
) -> None:
    """Switch otelier on and name this process.

    Under `opentelemetry-instrument` otelier is on already, and this only adds the names. Otherwise our processors
    go onto the providers that are set, now or later. Where none is set and an exporter is configured by the
    environment (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_EXPORTER`, …), OpenTelemetry's SDK is set up with its
    distro's defaults; where none is configured nothing global is installed, and one WARNING reports that. A provider
    that is set is never replaced. Calling it again, in several threads or after a fork, is safe: what a later call
    leaves out stays as it was, the recipe of fingerprints excepted.

    Args:
        app: Name of the process's own agent: every call is attributed to it that no other agent makes. `None`
            takes `OTELIER_APP`, else the service's name.
        env: Deployment environment, such as `production`. `None` takes `OTELIER_ENV`.
        propagate_to: Hosts that get the fields with each request, beside those inside: exact ones, or
            `*.example.com` for all below it; an empty list is none. `None` takes `OTELIER_PROPAGATE_TO`, else none.
        trust_inbound: Whether fields that come with a request are taken for true; otherwise they are dropped.
            `None` takes `OTELIER_TRUST_INBOUND`, else `False`.
        fingerprint: Recipe that knows agents by their system prompt: text in (its first 10,000 characters), a
            fingerprint of at most 256 characters out, or `None`. `None` in its place switches fingerprints off.
        redact: What to redact besides secrets: patterns, or callables from text to text. `None` is nothing more.
        strict: Whether a field that is given what cannot be carried raises where it is given, which is for tests and
            development; otherwise it is cleared, with a warning. `None` takes `OTELIER_STRICT`, else `False`.
        tracer_provider: Provider for spans; `None` is the global one.
        meter_provider: Provider for metrics; `None` is the global one.
        logger_provider: Provider for logs; `None` is the global one.

    Raises:
        TypeError: if *app* or *env* is not text, *trust_inbound* or *strict* neither a `bool` nor `None`,
            *fingerprint* no function, or *propagate_to* or *redact* no collection of what they hold.
        SettingError: if *app* or *env* cannot be used as a name, *propagate_to* has what is no host, a pattern of
            *redact* cannot be read, or an environment variable of ours cannot be read.

    Example:
        >>> import otelier
        >>> otelier.init(app="orchestrator", env="production")
        >>> otelier.get_agent().name
        'orchestrator'
    """
    _check_name("app", app)
    _check_name("env", env)
    if fingerprint is not None and not callable(fingerprint):
        raise TypeError(
            f"init(fingerprint=) must be a function or `None`, not a {type(fingerprint).__name__}: it is given prompts."
        )
    if DISABLED.value():
        _activation.activate()  # logs that it is switched off
        return
    check_ours()
    be_strict(strict)
    baggage.configure(propagate_to=propagate_to, trust_inbound=trust_inbound)
    if redact is not None:
        set_redactions(redact)
    use_fingerprint(fingerprint)
    given: dict[str, Any] = {
        "tracer_provider": tracer_provider,
        "meter_provider": meter_provider,
        "logger_provider": logger_provider,
    }
    use_providers(**given)
    identity = name_process(app=app, env=env)  # once named, agents are reported
    with _activation.lock:
        if any(provider is not None for provider in given.values()):
            _activation.switch_on()
            _activation.attach_given(**given)
        else:
            was_set_up = _attempt_sdk(identity)
            _activation.activate()
            if was_set_up:
                _activation.warn_of_logging()


def _attempt_sdk(identity: ProcessIdentity) -> bool:
    try:
        return _configurator.set_up(identity)
    except Exception as exc:
        report_fault("setup.sdk", exc)
        return False


def _check_name(argument: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(
            f"init({argument}=) must be a `str` or `None`, not a {type(value).__name__}: it is sent as text."
        )
    if not value.strip() or len(value) > MAX_NAME_CHARS or not value.isprintable():
        raise SettingError(
            f"Cannot name the process by init({argument}={value[:64]!r}): every signal would carry it. "
            f"Pass 1 to {MAX_NAME_CHARS} printable characters.",
            setting=argument,
        )
