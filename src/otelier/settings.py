"""Every environment variable otelier reads, in one table: type, default, unit.

A value is looked for in this order: argument, environment, default. Variables are read when otelier is switched
on (`init`, `activate`, `instrument`), never at import. Where OpenTelemetry already has a variable, that one is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar, cast

from otelier.errors import SettingError

T = TypeVar("T")

MAX_NAME_CHARS = 256
"""Longest name of a process or its environment."""
MAX_METRIC_TENANTS = 100
"""Most tenants that metrics name: each one is a set of time series of its own."""
MAX_CONTENT_CHARS = 1_000_000
"""Most characters of content in one attribute; redaction looks at no more of one text."""
MIN_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES = 1_000, 100_000_000
"""What the limit of one payload of a run may be."""
_MAX_SHOWN_CHARS = 64
# A key is one long word, and a password in an address stands between `:` and `@`.
_SHOWN = re.compile(r"(?!.*[\w+-]{20})[\w.*+ -]*")


def quoted(text: str) -> str:
    """Return what a message may show of the text of a setting: all of a few plain words, else how long it is.

    Whatever cannot be read may be another variable's value: a password, a key, an address with both in it.

    Example:
        >>> quoted("perhaps"), quoted("https://tok:PASSWORD@x/")
        ("'perhaps'", '(23 characters, not shown)')
    """
    if len(text) <= _MAX_SHOWN_CHARS and _SHOWN.fullmatch(text):
        return repr(text)
    return f"({len(text)} characters, not shown)"


class ContentMode(Enum):
    """Signals that content may go to: the values of `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`.

    Example:
        >>> from otelier.settings import ContentMode
        >>> ContentMode.SPAN_ONLY.on_span, ContentMode.SPAN_ONLY.on_event
        (True, False)
    """

    NO_CONTENT = "NO_CONTENT"
    SPAN_ONLY = "SPAN_ONLY"
    EVENT_ONLY = "EVENT_ONLY"
    SPAN_AND_EVENT = "SPAN_AND_EVENT"

    @property
    def on_span(self) -> bool:
        """Whether spans carry content, as JSON text."""
        return self in (ContentMode.SPAN_ONLY, ContentMode.SPAN_AND_EVENT)

    @property
    def on_event(self) -> bool:
        """Whether log events carry content, structured."""
        return self in (ContentMode.EVENT_ONLY, ContentMode.SPAN_AND_EVENT)

    @property
    def any(self) -> bool:
        """Whether content goes anywhere at all."""
        return self is not ContentMode.NO_CONTENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Generic[T]):
    """One environment variable: how its text becomes a value, and what holds without it.

    Example:
        >>> from otelier.settings import DISABLED
        >>> DISABLED.variable, DISABLED.default
        ('OTELIER_DISABLED', False)
    """

    variable: str
    """Name of the environment variable."""
    parse: Callable[[str], T]
    """Reads the text; raises `ValueError` with the choices for text that means nothing."""
    default: T
    """Value when neither argument nor variable is given."""
    kind: str
    """Type and unit in the reader's words, for the settings page."""
    meaning: str
    """One line: what it does."""

    def value(self, argument: T | None = None) -> T:
        """Return *argument*, else the variable's value, else the default.

        An empty variable counts as unset, as OpenTelemetry has it.

        Raises:
            SettingError: if the variable's text cannot be read.
        """
        if argument is not None:
            return argument
        text = os.environ.get(self.variable, "").strip()
        if not text:
            return self.default
        try:
            return self.parse(text)
        except ValueError as exc:
            default = "none" if self.default == frozenset() else repr(self.default)
            raise SettingError(
                f"Cannot read {self.variable}={quoted(text)}: {exc}. Unset it to get the default {default}.",
                setting=self.variable,
            ) from exc


def _text(text: str) -> str:
    return text


def _name(text: str) -> str:
    if len(text) > MAX_NAME_CHARS or not text.isprintable():
        raise ValueError(f"it must be 1 to {MAX_NAME_CHARS} printable characters, since every signal carries it")
    return text


def _flag(text: str) -> bool:
    choice = text.lower()
    if choice in ("true", "1", "yes", "on"):
        return True
    if choice in ("false", "0", "no", "off"):
        return False
    raise ValueError("it must be `true` or `false`")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ValueError("it must be a number above 0")
    return int(text)


def _content_chars(text: str) -> int:
    number = _positive(text)
    if number > MAX_CONTENT_CHARS:
        raise ValueError(f"it must be at most {MAX_CONTENT_CHARS}, since no more characters are redacted")
    return number


def _payload_bytes(text: str) -> int:
    number = _positive(text)
    if not MIN_PAYLOAD_BYTES <= number <= MAX_PAYLOAD_BYTES:
        raise ValueError(
            f"it must be {MIN_PAYLOAD_BYTES} to {MAX_PAYLOAD_BYTES}, since the store holds each in one row"
        )
    return number


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _tenants(text: str) -> frozenset[str]:
    tenants = _names(text)
    if len(tenants) > MAX_METRIC_TENANTS:
        raise ValueError(f"it names {len(tenants)} tenants, and metrics carry at most {MAX_METRIC_TENANTS}")
    if any(len(tenant) > MAX_NAME_CHARS or not tenant.isprintable() for tenant in tenants):
        raise ValueError(f"each tenant must be 1 to {MAX_NAME_CHARS} printable characters, since metrics carry it")
    return tenants


*_FIRST_MODES, _LAST_MODE = (f"`{mode}`" for mode in ContentMode.__members__)
_CONTENT_MODES = f"{', '.join(_FIRST_MODES)} or {_LAST_MODE}"


def _content_mode(text: str) -> str:
    mode = text.upper()
    if mode in ContentMode.__members__:
        return mode
    raise ValueError(f"it must be {_CONTENT_MODES}")


APP: Setting[str | None] = Setting(
    variable="OTELIER_APP",
    parse=_name,
    default=None,
    kind="text",
    meaning="Name of this process's own agent; also the namespace that agent ids are derived from.",
)
ENV: Setting[str | None] = Setting(
    variable="OTELIER_ENV",
    parse=_name,
    default=None,
    kind="text",
    meaning="Deployment environment, `deployment.environment.name`.",
)
DISABLED: Setting[bool] = Setting(
    variable="OTELIER_DISABLED",
    parse=_flag,
    default=False,
    kind="flag",
    meaning="Switches off everything: processors, patches and what goes into baggage.",
)
PROPAGATE_TO: Setting[frozenset[str]] = Setting(
    variable="OTELIER_PROPAGATE_TO",
    parse=_names,
    default=frozenset(),
    kind="hosts, comma-separated",
    meaning="External hosts that receive the fields with each request: exact names, or `*.example.com`.",
)
TRUST_INBOUND: Setting[bool] = Setting(
    variable="OTELIER_TRUST_INBOUND",
    parse=_flag,
    default=False,
    kind="flag",
    meaning="Trusts the fields of inbound requests; without it they are dropped.",
)
STRICT: Setting[bool] = Setting(
    variable="OTELIER_STRICT",
    parse=_flag,
    default=False,
    kind="flag",
    meaning="Raises for an invalid field value; without it the field is cleared, with a warning.",
)
SERVICE_NAME: Setting[str | None] = Setting(
    variable="OTEL_SERVICE_NAME",
    parse=_text,
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
    parse=_names,
    default=frozenset(),
    kind="names, comma-separated",
    meaning="Instrumentations not to switch on: `otelier` (all its patches), `otelier-openai`, or `*`.",
)
CAPTURE_CONTENT: Setting[str] = Setting(
    variable="OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
    parse=_content_mode,
    default=ContentMode.NO_CONTENT.value,
    kind=_CONTENT_MODES,
    meaning="Where prompts, answers and tool arguments may be recorded, with secrets redacted.",
)
EMIT_EVENT: Setting[bool | None] = Setting(
    variable="OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT",
    parse=_flag,
    default=None,
    kind="flag",
    meaning="Whether calls emit log events too; unset, they do if content goes to events.",
)
COMPLETION_HOOK: Setting[str | None] = Setting(
    variable="OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK",
    parse=_text,
    default=None,
    kind="text",
    meaning="Entry point that receives the content of OpenAI calls and stores it; needs `opentelemetry-util-genai`.",
)
CONTENT_MAX_CHARS: Setting[int] = Setting(
    variable="OTELIER_CONTENT_MAX_CHARS",
    parse=_content_chars,
    default=250_000,
    kind="characters",
    meaning=f"Most characters of content in one attribute, at most {MAX_CONTENT_CHARS}; "
    "one call has at most twice as many. The rest is cut off, with notes of how much.",
)
REDACT_PERSONAL: Setting[bool] = Setting(
    variable="OTELIER_REDACT_PERSONAL_DATA",
    parse=_flag,
    default=False,
    kind="flag",
    meaning="Redacts e-mail addresses, card numbers, IBANs, phone numbers and US social security numbers "
    "in recorded content, in addition to secrets.",
)
METRIC_TENANTS: Setting[frozenset[str]] = Setting(
    variable="OTELIER_METRIC_TENANTS",
    parse=_tenants,
    default=frozenset(),
    kind="tenant ids, comma-separated",
    meaning=f"Tenants that metrics name beside the agent, in `otelier.tenant.id`, at most {MAX_METRIC_TENANTS}; "
    "`_OTHER` stands for all others, and a call without a tenant has none. A longer list counts as unset.",
)
STREAM_USAGE: Setting[bool] = Setting(
    variable="OTELIER_OPENAI_STREAM_USAGE",
    parse=_flag,
    default=False,
    kind="flag",
    meaning="Requests usage in streams from the provider; the chunk with the usage is hidden from the caller.",
)

ENGINE: Setting[str] = Setting(
    variable="OTELIER_ENGINE",
    parse=_text,
    default="file:.otelier/runs.db",
    kind="address",
    meaning="Where runs of workflows are kept: `memory:`, `file:PATH`, or `restate://HOST[:8080][?admin=9070]`.",
)
WORKER_BIND: Setting[str] = Setting(
    variable="OTELIER_WORKER_BIND",
    parse=_text,
    default="127.0.0.1:9080",
    kind="host:port",
    meaning="Where a worker of a Restate server listens; port 0 is any that is free. An address that other machines "
    "reach is refused without `OTELIER_RESTATE_IDENTITY_KEY`.",
)
WORKER_URL: Setting[str | None] = Setting(
    variable="OTELIER_WORKER_URL",
    parse=_text,
    default=None,
    kind="URL",
    meaning="How the Restate server reaches this worker, or the balancer before all workers of its service; without "
    "it that is `http://` and where it listens.",
)
RESTATE_IDENTITY_KEY: Setting[str | None] = Setting(
    variable="OTELIER_RESTATE_IDENTITY_KEY",
    parse=_text,
    default=None,
    kind="public keys, comma-separated",
    meaning="Public keys of the Restate server, `publickeyv1_...`: a worker then takes only requests signed by it.",
)
PAYLOAD_MAX_BYTES: Setting[int] = Setting(
    variable="OTELIER_PAYLOAD_MAX_BYTES",
    parse=_payload_bytes,
    default=1_000_000,
    kind="bytes",
    meaning="Most bytes that one input, result, signal or value of state of a run may have as JSON, "
    f"{MIN_PAYLOAD_BYTES} to {MAX_PAYLOAD_BYTES}. What has more is refused.",
)
SECRETS_DIR: Setting[str | None] = Setting(
    variable="OTELIER_SECRETS_DIR",
    parse=_text,
    default=None,
    kind="path",
    meaning="Folder with a file for each secret, which `ctx.secrets()` reads after the environment.",
)
CONFIG: Setting[str | None] = Setting(
    variable="OTELIER_CONFIG_{KEY}",
    parse=_text,
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
    parse=_text,
    default=None,
    kind="`key=value`, comma-separated",
    meaning="OpenTelemetry's resource; its `service.name` is used if `OTEL_SERVICE_NAME` is unset.",
)


def _place(variable: str) -> Setting[str | None]:
    return Setting(
        variable=variable,
        parse=_text,
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
