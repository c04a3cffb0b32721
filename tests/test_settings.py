"""Settings: argument, then environment, then default; bad text names the variable and the choices."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

from otelier import settings
from otelier.errors import OtelierError, SettingError
from otelier.settings import (
    APP,
    CONTENT_MAX_CHARS,
    DISABLED,
    DISABLED_INSTRUMENTATIONS,
    METRIC_TENANTS,
    Setting,
    all_settings,
    exporter_is_configured,
)

SOURCE = Path(settings.__file__).parent.parent
VARIABLE = re.compile(r"OTEL(IER)?_[A-Z_]+")
every_setting = pytest.mark.parametrize("setting", list(all_settings()), ids=lambda setting: setting.variable)


def test_argument_beats_environment_beats_default(monkeypatch):
    """One order for everything that can be set."""
    assert APP.value() is None
    monkeypatch.setenv("OTELIER_APP", "from-environment")
    assert APP.value() == "from-environment"
    assert APP.value("from-argument") == "from-argument"


def test_a_given_false_is_not_a_missing_argument(monkeypatch):
    """`False` as argument holds against a variable that says `true`."""
    monkeypatch.setenv("OTELIER_DISABLED", "true")
    assert DISABLED.value(False) is False


@pytest.mark.parametrize("text", ["", "   "])
@every_setting
def test_an_empty_variable_counts_as_unset(setting, text, monkeypatch):
    """As OpenTelemetry has it."""
    monkeypatch.setenv(setting.variable, text)
    assert setting.value() == setting.default


@pytest.mark.parametrize(
    ("text", "meaning"),
    [("true", True), ("TRUE", True), ("1", True), (" on ", True), ("false", False), ("0", False), ("No", False)],
)
def test_flags_are_read_in_any_case(text, meaning, monkeypatch):
    """A flag takes the usual words."""
    monkeypatch.setenv("OTELIER_DISABLED", text)
    assert DISABLED.value() is meaning


def test_names_are_read_without_blanks_and_empties(monkeypatch):
    """A list of names may be written with spaces and a comma too many."""
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", " otelier , ,flask,")
    assert DISABLED_INSTRUMENTATIONS.value() == {"otelier", "flask"}


def test_a_list_of_tenants_is_bounded(monkeypatch):
    """One hundred tenants are read; one more, or one that is no short printable text, is refused with the reason."""
    hundred = [f"tenant-{number}" for number in range(100)]
    monkeypatch.setenv("OTELIER_METRIC_TENANTS", ", ".join([*hundred, "tenant-7"]))
    assert METRIC_TENANTS.value() == set(hundred)
    for text, problem in [(",".join([*hundred, "x"]), "101 tenants"), ("a" * 257, "256"), ("a,b\x7f", "printable")]:
        monkeypatch.setenv("OTELIER_METRIC_TENANTS", text)
        with pytest.raises(SettingError, match=rf"{problem}.*the default none"):
            METRIC_TENANTS.value()


def test_more_content_than_is_redacted_is_refused(monkeypatch):
    """The message says how much an attribute may have at most."""
    monkeypatch.setenv("OTELIER_CONTENT_MAX_CHARS", "1000000")
    assert CONTENT_MAX_CHARS.value() == 1_000_000
    for text in ("1000001", "9" * 40):
        monkeypatch.setenv("OTELIER_CONTENT_MAX_CHARS", text)
        with pytest.raises(SettingError, match="it must be at most 1000000, since no more characters are redacted"):
            CONTENT_MAX_CHARS.value()


def test_text_that_means_nothing_is_a_clear_error(monkeypatch):
    """The message names the variable, what it holds, the choices and the way out; the error keeps the name."""
    monkeypatch.setenv("OTELIER_DISABLED", "perhaps")
    with pytest.raises(SettingError) as caught:
        DISABLED.value()
    assert str(caught.value) == (
        "Cannot read OTELIER_DISABLED='perhaps': it must be `true` or `false`. Unset it to get the default False."
    )
    assert caught.value.setting == "OTELIER_DISABLED"
    assert isinstance(caught.value, OtelierError)
    assert isinstance(caught.value, ValueError)


def test_a_variable_is_read_when_asked_for(monkeypatch):
    """Nothing is remembered from import or from an earlier look."""
    monkeypatch.setenv("OTELIER_APP", "first")
    assert APP.value() == "first"
    monkeypatch.setenv("OTELIER_APP", "second")
    assert APP.value() == "second"


@pytest.mark.parametrize(
    ("given", "is_configured"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "None", "OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "console"}, True),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://localhost:4318/v1/logs"}, True),
        ({"OTEL_CONFIG_FILE": "otel.yaml"}, True),
    ],
)
def test_signals_go_where_the_environment_says(given, is_configured, monkeypatch):
    """An exporter, an endpoint or a file says where; `none` and empty text say nothing."""
    for variable in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(variable)
    for variable, text in given.items():
        monkeypatch.setenv(variable, text)
    assert exporter_is_configured() is is_configured


def test_every_variable_stands_once():
    """The table holds all settings, each under its own name."""
    variables = [setting.variable for setting in all_settings()]
    assert len(variables) == len(set(variables)) > 5


@every_setting
def test_every_setting_is_documented(setting):
    """The settings page is made of these lines."""
    assert isinstance(setting, Setting)
    assert setting.kind
    assert setting.meaning.endswith(".")
    assert setting.variable.startswith(("OTELIER_", "OTEL_"))


def test_every_variable_that_is_read_stands_in_the_table():
    """One file lists every variable, so the page that is made of it is complete."""
    known = {setting.variable for setting in all_settings()}
    for module in sorted(SOURCE.rglob("*.py")):
        if "cli" in module.relative_to(SOURCE).parts:
            continue  # commands look at, and hand on, the variables of other programs
        literals = [
            node.value for node in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(node, ast.Constant)
        ]
        variables = {text for text in literals if isinstance(text, str) and VARIABLE.fullmatch(text)}
        assert variables <= known, f"{module.name} reads {sorted(variables - known)}"


def test_the_table_alone_reads_the_environment():
    """Every other module asks a setting, so a variable is read, and counts as unset, in one way."""
    for module in sorted(SOURCE.rglob("*.py")):
        if {"cli", "settings"} & {*module.relative_to(SOURCE).parts}:
            continue
        nodes = list(ast.walk(ast.parse(module.read_text("utf-8"))))
        readers = {"environ", "environb", "getenv"}
        assert not [node for node in nodes if isinstance(node, ast.Attribute) and node.attr in readers], module
        assert not [node for node in nodes if isinstance(node, ast.alias) and node.name in readers], module


def test_the_environment_is_not_changed():
    """Reading leaves everything as it was."""
    before = dict(os.environ)
    for setting in all_settings():
        setting.value()
    assert dict(os.environ) == before
