"""Secrets and configuration of a body: secrets are read anew and never stored, values of flags are recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from opentelemetry.context import get_current
from opentelemetry.util.types import AnyValue

from otelier import names
from otelier.codec import read_json, to_plain
from otelier.errors import NotJsonError, SettingError
from otelier.faults import read_setting, warn_once
from otelier.fields import get_context
from otelier.redaction import mask_value
from otelier.settings import SECRETS_DIR, as_variable, config_text, config_variable, quoted, secret_text
from otelier.telemetry import emit_event, fit_text
from otelier.workflows._body import Body
from otelier.workflows._checks import checked_name
from otelier.workflows.engines.protocol import Json, Op

_MISSING: Final = object()
_MAX_SECRET_BYTES: Final = 1_000_000
_TRUE: Final = frozenset(("1", "true", "yes", "on"))
_FALSE: Final = frozenset(("0", "false", "no", "off"))
_OURS: Final = "otelier"


class Secrets:
    """Reads secrets: from the environment, then from a file in `OTELIER_SECRETS_DIR`. Nothing of them is stored."""

    def get(self, key: str, default: Any = _MISSING) -> Any:
        """Return a secret as text, without the end of its last line, and mask it in all signals from now on.

        Args:
            key: Its name: `openai_api_key` is the variable of that name or `OPENAI_API_KEY`, else the file.
            default: What is returned where there is none.

        Raises:
            SettingError: if there is none, and no *default* is given.
        """
        checked_name(key, "a secret's name")
        value = secret_text(key) or _of_file(key)
        if value is not None:
            mask_value(value)
            return value
        if default is not _MISSING:
            return default
        raise SettingError(
            f"There is no secret {quoted(key)}: neither a variable {as_variable(key)}, nor a file of that name in "
            f"{SECRETS_DIR.variable}. Set one of them, or give `default=`.",
            setting=as_variable(key),
        )


def _of_file(key: str) -> str | None:
    folder = read_setting(SECRETS_DIR)
    if folder is None or Path(key).name != key:  # such as `../key`
        return None
    for name in dict.fromkeys((key, as_variable(key))):
        try:
            with (Path(folder) / name).open("rb") as file:
                return file.read(_MAX_SECRET_BYTES).decode().rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            continue
    return None


class Config:
    """Reads flags and values: of OpenFeature's provider, else of `OTELIER_CONFIG_{KEY}`, else the default.

    In a body what was read is recorded, so a run that is resumed sees what it saw before, whatever the flag says now.
    """

    def __init__(self, body: Body) -> None:
        self._body = body

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of *key*, of the type that *default* has.

        Args:
            key: Name of the flag.
            default: What is returned where it has no value, or one of another type; `None` takes any type.
        """
        checked_name(key, "a flag's name")
        return self._recorded(
            f"config {key}", f"ctx.config().get({key!r})", lambda: _value_of(key, default, self._unit())
        )

    def variant(self, key: str, default: str = "control") -> str:
        """Return the name of the variant that the user, else the run, gets; it is reported once.

        Args:
            key: Name of the flag.
            default: What is returned where it has none.
        """
        checked_name(key, "a flag's name")
        return self._recorded(
            f"variant {key}", f"ctx.config().variant({key!r})", lambda: _variant_of(key, default, self._unit())
        )

    def _unit(self) -> str:
        """Return whom a flag is evaluated for."""
        return get_context().user_id or self._body.spans.root_run_id

    def _recorded(self, name: str, what: str, read: Callable[[], Json]) -> Any:
        body = self._body
        if not body.is_here():
            return read()
        body.check(what)
        value: list[Json] = []

        async def give() -> Json:
            return value[0]

        op: Op = body.run.step(name, give)
        if body.run.known(op):
            return op.value
        # Read here, since nothing waits; recorded before the body waits for anything else.
        value.append(to_plain(read(), what=f"what {what} returns"))
        op.start()
        body.unsettled.append(op)
        return value[0]


# --- flags -------------------------------------------------------------------------------------------------------
def _value_of(key: str, default: Any, unit: str) -> Any:
    fallback = _of_variable(key, default)
    client = _client()
    if client is None:
        return fallback
    for kind in _kinds_of(default):
        details = _details(client, kind, key, fallback if _fits(fallback, kind) else _empty(kind), unit)
        if details.error_code is None and str(details.reason) != "DEFAULT":
            return details.value
        if str(details.error_code or "").rpartition(".")[2] != "TYPE_MISMATCH":
            break
    return fallback


def _variant_of(key: str, default: str, unit: str) -> str:
    text = _of_variable(key, default)
    found, reason, provider = str(text), "default" if text == default else "static", _OURS
    client = _client()
    for kind in ("string", "boolean", "integer", "float", "object") if client is not None else ():
        details = _details(client, kind, key, found if kind == "string" else _empty(kind), unit)
        code = str(details.error_code or "").rpartition(".")[2]
        if code == "TYPE_MISMATCH":
            continue
        if client is not None and not code and str(details.reason) != "DEFAULT":
            found = str(details.value if details.variant is None else details.variant)
            reason, provider = str(details.reason or "unknown").lower(), client.provider.get_metadata().name
        break
    shown: dict[str, Any] = {
        names.FEATURE_FLAG_KEY: fit_text(key),
        names.FEATURE_FLAG_VARIANT: fit_text(found),
        names.FEATURE_FLAG_REASON: fit_text(reason),
        names.FEATURE_FLAG_PROVIDER: fit_text(provider),
        names.FEATURE_FLAG_CONTEXT_ID: fit_text(unit),
    }
    attributes = cast("dict[str, AnyValue]", {name: value for name, value in shown.items() if value is not None})
    emit_event(names.SCOPE_WORKFLOWS, names.FEATURE_FLAG_EVALUATION, attributes, get_current())
    return found


def _client() -> Any:
    """Return OpenFeature's client; `None` without the extra `workflows`."""
    try:
        from openfeature import api
    except ImportError:
        return None
    return api.get_client()


def _details(client: Any, kind: str, key: str, default: Any, unit: str) -> Any:
    from openfeature.evaluation_context import EvaluationContext  # pyright: ignore[reportMissingTypeStubs]

    return getattr(client, f"get_{kind}_details")(key, default, EvaluationContext(targeting_key=unit))


def _kinds_of(default: Any) -> tuple[str, ...]:
    for types, kind in (
        (bool, "boolean"),
        (str, "string"),
        (int, "integer"),
        (float, "float"),
        ((dict, list), "object"),
    ):
        if isinstance(default, types):
            return (kind,)
    return ("boolean", "string", "integer", "float", "object")


def _empty(kind: str) -> Any:
    empty: dict[str, Any] = {"boolean": False, "string": "", "integer": 0, "float": 0.0, "object": {}}
    return empty[kind]


def _fits(value: Any, kind: str) -> bool:
    return value is not None and _kinds_of(value) == (kind,)


def _of_variable(key: str, default: Any) -> Any:
    """Return the value of the variable of *key*, of the type of *default*; *default* where it is not set."""
    text = config_text(key)
    if text is None:
        return default
    try:
        return _parsed(text, default)
    except ValueError:
        variable = config_variable(key)
        warn_once(
            f"workflows.config.{variable}",
            "Cannot read %s as %s: the default is used. Set it to a value of that type, or unset it.",
            variable,
            type(default).__name__,
        )
        return default


def _parsed(text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if (lower := text.lower()) not in _TRUE | _FALSE:
            raise ValueError(text)
        return lower in _TRUE
    if isinstance(default, (int, float)):
        return type(default)(text)
    if isinstance(default, (dict, list)):
        try:
            found = read_json(text)
        except NotJsonError as exc:
            raise ValueError(text) from exc
        if type(found) is not type(cast("Any", default)):
            raise ValueError(json.dumps(found))
        return found
    return text
