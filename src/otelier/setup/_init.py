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

    Under `opentelemetry-instrument` otelier is already on, and `init` only adds the names. Otherwise it adds its
    processors to the providers that are set, now or later. If no provider is set and the environment configures an
    exporter (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_EXPORTER`, …), it sets up OpenTelemetry's SDK with its
    distro's defaults; if none is configured, it installs nothing global and logs one WARNING. A provider that is set
    is never replaced. It is safe to call `init` again, in several threads or after a fork: arguments that a later call
    leaves out keep their values, except for `fingerprint`.

    Args:
        app: Name of the process's own agent, to which all calls without another agent are attributed. `None` uses
            `OTELIER_APP`, else the service's name.
        env: Deployment environment, such as `production`. `None` uses `OTELIER_ENV`.
        propagate_to: External hosts that receive the fields with each request, besides the internal ones: exact names,
            or `*.example.com` for all hosts below it. An empty list names none. `None` uses `OTELIER_PROPAGATE_TO`.
        trust_inbound: Whether the fields of inbound requests are trusted; otherwise they are dropped. `None` uses
            `OTELIER_TRUST_INBOUND`, else `False`.
        fingerprint: Function that identifies agents by their system prompt: it receives the text (its first 10,000
            characters) and returns a fingerprint of at most 256 characters, or `None`. `None` in place of the function
            switches fingerprints off.
        redact: Patterns, or functions from text to text, that redact more than secrets. `None` adds nothing.
        strict: Whether an invalid field value raises an error, for tests and development; otherwise the field is
            cleared, with a warning. `None` uses `OTELIER_STRICT`, else `False`.
        tracer_provider: Provider for spans; `None` is the global one.
        meter_provider: Provider for metrics; `None` is the global one.
        logger_provider: Provider for logs; `None` is the global one.

    Raises:
        TypeError: if an argument has the wrong type.
        SettingError: if *app* or *env* is not a valid name, *propagate_to* has something that is not a host, a pattern
            in *redact* is invalid, or an `OTELIER_` environment variable has an invalid value.

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
    given: dict[str, Any] = {
        "tracer_provider": tracer_provider,
        "meter_provider": meter_provider,
        "logger_provider": logger_provider,
    }
    for (argument, provider), method in zip(given.items(), ("get_tracer", "get_meter", "get_logger")):
        _check_provider(argument, provider, method)
    if DISABLED.value():
        _activation.activate()  # logs that it is switched off
        return
    check_ours()
    be_strict(strict)
    baggage.configure(propagate_to=propagate_to, trust_inbound=trust_inbound)
    if redact is not None:
        set_redactions(redact)
    use_fingerprint(fingerprint)
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


def _check_provider(argument: str, provider: object, method: str) -> None:
    # By its method alone: providers that stand for others often share no class with them.
    if provider is not None and not callable(getattr(provider, method, None)):
        raise TypeError(
            f"init({argument}=) must be a provider with a method `{method}`, or `None` for the global one, "
            f"not a {type(provider).__name__}: all signals of its kind go there."
        )
