"""Every environment variable otelier reads, in one table: type, default, unit.

A value is looked for in this order: argument, environment, default. Variables are read when otelier is switched
on (`init`, `activate`, `instrument`), never at import. Where OpenTelemetry already has a variable, that one is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import cast

from otelier.errors import SettingError
from otelier.settings._kinds import (
    CONTENT_MODES,
    MAX_CONTENT_CHARS,
    MAX_METRIC_TENANTS,
    MAX_PAYLOAD_BYTES,
    MIN_PAYLOAD_BYTES,
    ContentMode,
    Setting,
    parse_content_chars,
    parse_content_mode,
    parse_flag,
    parse_name,
    parse_names,
    parse_payload_bytes,
    parse_tenants,
    parse_text,
    parse_trace_url,
)

APP: Setting[str | None] = Setting(
    variable="OTELIER_APP",
    parse=parse_name,
    default=None,
    kind="text",
    meaning="Name of this process's own agent; also the namespace that agent ids are derived from.",
)
ENV: Setting[str | None] = Setting(
    variable="OTELIER_ENV",
    parse=parse_name,
    default=None,
    kind="text",
    meaning="Deployment environment, `deployment.environment.name`.",
)
DISABLED: Setting[bool] = Setting(
    variable="OTELIER_DISABLED",
    parse=parse_flag,
    default=False,
    kind="flag",
    meaning="Switches off everything: processors, patches and what goes into baggage.",
)
PROPAGATE_TO: Setting[frozenset[str]] = Setting(
    variable="OTELIER_PROPAGATE_TO",
    parse=parse_names,
    default=frozenset(),
    kind="hosts, comma-separated",
    meaning="External hosts that receive the fields with each request: exact names, or `*.example.com`.",
)
TRUST_INBOUND: Setting[bool] = Setting(
    variable="OTELIER_TRUST_INBOUND",
    parse=parse_flag,
    default=False,
    kind="flag",
    meaning="Trusts the fields of inbound requests; without it they are dropped.",
)
STRICT: Setting[bool] = Setting(
    variable="OTELIER_STRICT",
    parse=parse_flag,
    default=False,
    kind="flag",
    meaning="Raises for an invalid field value; without it the field is cleared, with a warning.",
)
SERVICE_NAME: Setting[str | None] = Setting(
    variable="OTEL_SERVICE_NAME",
    parse=parse_text,
    default=None,
    kind="text",
    meaning="OpenTelemetry's service name; also names the process's agent if `OTELIER_APP` is unset.",
)
SDK_DISABLED: Setting[bool] = Setting(
    variable="OTEL_SDK_DISABLED",
    parse=lambda text: text.lower() == "true",
    default=False,
    kind="flag",
    meaning="OpenTelemetry's switch: no spans, metrics and logs; the context still works.",
)
DISABLED_INSTRUMENTATIONS: Setting[frozenset[str]] = Setting(
    variable="OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
    parse=parse_names,
    default=frozenset(),
    kind="names, comma-separated",
    meaning="Instrumentations not to switch on: `otelier` (all its patches), `otelier-openai`, or `*`.",
)
CAPTURE_CONTENT: Setting[str] = Setting(
    variable="OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
    parse=parse_content_mode,
    default=ContentMode.NO_CONTENT.value,
    kind=CONTENT_MODES,
    meaning="Where prompts, answers and tool arguments may be recorded, with secrets redacted.",
)
EMIT_EVENT: Setting[bool | None] = Setting(
    variable="OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT",
    parse=parse_flag,
    default=None,
    kind="flag",
    meaning="Whether calls emit log events too; unset, they do if content goes to events.",
)
COMPLETION_HOOK: Setting[str | None] = Setting(
    variable="OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK",
    parse=parse_text,
    default=None,
    kind="text",
    meaning="Entry point that receives the content of OpenAI calls and stores it; needs `opentelemetry-util-genai`.",
)
CONTENT_MAX_CHARS: Setting[int] = Setting(
    variable="OTELIER_CONTENT_MAX_CHARS",
    parse=parse_content_chars,
    default=250_000,
    kind="characters",
    meaning=f"Most characters of content in one attribute, at most {MAX_CONTENT_CHARS}; "
    "one call has at most twice as many. The rest is cut off, with notes of how much.",
)
REDACT_PERSONAL: Setting[bool] = Setting(
    variable="OTELIER_REDACT_PERSONAL_DATA",
    parse=parse_flag,
    default=False,
    kind="flag",
    meaning="Redacts e-mail addresses, card numbers, IBANs, phone numbers and US social security numbers "
    "in recorded content, in addition to secrets.",
)
METRIC_TENANTS: Setting[frozenset[str]] = Setting(
    variable="OTELIER_METRIC_TENANTS",
    parse=parse_tenants,
    default=frozenset(),
    kind="tenant ids, comma-separated",
    meaning=f"Tenants that metrics name beside the agent, in `otelier.tenant.id`, at most {MAX_METRIC_TENANTS}; "
    "`_OTHER` stands for all others, and a call without a tenant has none. A longer list counts as unset.",
)
STREAM_USAGE: Setting[bool] = Setting(
    variable="OTELIER_OPENAI_STREAM_USAGE",
    parse=parse_flag,
    default=False,
    kind="flag",
    meaning="Requests usage in streams from the provider; the chunk with the usage is hidden from the caller.",
)

ENGINE: Setting[str] = Setting(
    variable="OTELIER_ENGINE",
    parse=parse_text,
    default="file:.otelier/runs.db",
    kind="address",
    meaning="Where runs of workflows are kept: `memory:`, `file:PATH`, or `restate://HOST[:8080][?admin=9070]`.",
)
WORKER_BIND: Setting[str] = Setting(
    variable="OTELIER_WORKER_BIND",
    parse=parse_text,
    default="127.0.0.1:9080",
    kind="host:port",
    meaning="Where a worker of a Restate server listens; port 0 is any that is free. An address that other machines "
    "reach is refused without `OTELIER_RESTATE_IDENTITY_KEY`.",
)
WORKER_URL: Setting[str | None] = Setting(
    variable="OTELIER_WORKER_URL",
    parse=parse_text,
    default=None,
    kind="URL",
    meaning="How the Restate server reaches this worker, or the balancer before all workers of its service; without "
    "it that is `http://` and where it listens.",
)
RESTATE_IDENTITY_KEY: Setting[str | None] = Setting(
    variable="OTELIER_RESTATE_IDENTITY_KEY",
    parse=parse_text,
    default=None,
    kind="public keys, comma-separated",
    meaning="Public keys of the Restate server, `publickeyv1_...`: a worker then takes only requests signed by it.",
)
PAYLOAD_MAX_BYTES: Setting[int] = Setting(
    variable="OTELIER_PAYLOAD_MAX_BYTES",
    parse=parse_payload_bytes,
    default=1_000_000,
    kind="bytes",
    meaning="Most bytes that one input, result, signal or value of state of a run may have as JSON, "
    f"{MIN_PAYLOAD_BYTES} to {MAX_PAYLOAD_BYTES}. What has more is refused.",
)
TRACE_URL: Setting[str | None] = Setting(
    variable="OTELIER_TRACE_URL",
    parse=parse_trace_url,
    default=None,
    kind="URL with `{trace_id}`",
    meaning="Where traces are looked at, such as `http://localhost:16686/trace/{trace_id}`: `otelier show` links to "
    "that of its run.",
)
SECRETS_DIR: Setting[str | None] = Setting(
    variable="OTELIER_SECRETS_DIR",
    parse=parse_text,
    default=None,
    kind="path",
    meaning="Folder with a file for each secret, which `ctx.secrets()` reads after the environment.",
)
CONFIG: Setting[str | None] = Setting(
    variable="OTELIER_CONFIG_{KEY}",
    parse=parse_text,
    default=None,
    kind="value of the default's type",
    meaning="Value that `ctx.config()` returns for a key where no provider of flags knows it; `{KEY}` is the key in "
    "upper case, with `_` for all but letters and digits.",
)


def config_variable(key: str) -> str:
    """Return the variable that `ctx.config()` reads for *key*.

    Example:
        >>> config_variable("new-feature.enabled")
        'OTELIER_CONFIG_NEW_FEATURE_ENABLED'
    """
    return CONFIG.variable.replace("{KEY}", as_variable(key))


def config_text(key: str) -> str | None:
    """Return what that variable says; `None` where it is not set.

    Example:
        >>> config_text("no-such-flag")
    """
    return os.environ.get(config_variable(key), "").strip() or None


def secret_text(key: str) -> str | None:
    """Return the secret *key* of the environment, by its name or that in upper case; `None` where it is not set.

    Example:
        >>> secret_text("no_such_secret")
    """
    return os.environ.get(key) or os.environ.get(as_variable(key)) or None


def as_variable(key: str) -> str:
    """Return *key* as variables are named: in upper case, with `_` for all but letters and digits.

    Example:
        >>> as_variable("openai_api_key")
        'OPENAI_API_KEY'
    """
    return re.sub("[^A-Z0-9]", "_", key.upper())


RESOURCE_ATTRIBUTES: Setting[str | None] = Setting(
    variable="OTEL_RESOURCE_ATTRIBUTES",
    parse=parse_text,
    default=None,
    kind="`key=value`, comma-separated",
    meaning="OpenTelemetry's resource; its `service.name` is used if `OTEL_SERVICE_NAME` is unset.",
)


def _place(variable: str) -> Setting[str | None]:
    return Setting(
        variable=variable,
        parse=parse_text,
        default=None,
        kind="text",
        meaning="If set and no provider is set, `init` sets up the SDK, because telemetry can be exported.",
    )


TRACES_EXPORTER = _place("OTEL_TRACES_EXPORTER")
METRICS_EXPORTER = _place("OTEL_METRICS_EXPORTER")
LOGS_EXPORTER = _place("OTEL_LOGS_EXPORTER")
ENDPOINT = _place("OTEL_EXPORTER_OTLP_ENDPOINT")
TRACES_ENDPOINT = _place("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
METRICS_ENDPOINT = _place("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
LOGS_ENDPOINT = _place("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT")
CONFIG_FILE = _place("OTEL_CONFIG_FILE")


def exporter_is_configured() -> bool:
    """Return whether the environment says where signals go.

    Example:
        >>> exporter_is_configured()
        False
    """
    exporters = (TRACES_EXPORTER, METRICS_EXPORTER, LOGS_EXPORTER)
    places = (ENDPOINT, TRACES_ENDPOINT, METRICS_ENDPOINT, LOGS_ENDPOINT, CONFIG_FILE)
    named = any((setting.value() or "none").lower() != "none" for setting in exporters)
    return named or any(setting.value() for setting in places)


def switched_off() -> bool:
    """Return whether `OTELIER_DISABLED` is set; text that cannot be read counts as not set, `init` reports it.

    Example:
        >>> switched_off()
        False
    """
    try:
        return DISABLED.value()
    except SettingError:
        return False


def patches_allowed() -> bool:
    """Return whether otelier may patch other libraries: neither it nor everything is switched off.

    Example:
        >>> patches_allowed()
        True
    """
    return not switched_off() and DISABLED_INSTRUMENTATIONS.value().isdisjoint(("otelier", "*"))


def check_ours() -> None:
    """Read every variable of ours once, so that one that cannot be read is an error before anything is switched on.

    OpenTelemetry's own are left out: one that cannot be read counts as unset, with a warning, as its packages have it.
    So is `OTELIER_METRIC_TENANTS`: a list of customers grows, and one too many stops no program.

    Raises:
        SettingError: if the text of a variable of ours cannot be read.

    Example:
        >>> check_ours()
    """
    for setting in all_settings():
        if setting.variable.startswith("OTELIER_") and setting is not METRIC_TENANTS:
            setting.value()


def all_settings() -> Iterator[Setting[object]]:
    """Yield every setting of this table in the order of definition.

    Example:
        >>> from otelier.settings import all_settings
        >>> "OTELIER_APP" in [setting.variable for setting in all_settings()]
        True
    """
    table: list[object] = list(globals().values())
    return (cast("Setting[object]", value) for value in table if isinstance(value, Setting))
