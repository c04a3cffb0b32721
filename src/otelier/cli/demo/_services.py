"""The two services of the demonstration, each with the variables that a user would set for it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import files

from otelier.cli.demo._processes import Service
from otelier.cli.demo._received import CAPTURE_SETTING, KEPT_HEADERS
from otelier.testing import OpenAIServer, OtlpReceiver

HELPDESK, PAYMENTS = "helpdesk", "payments"


def service(name: str, model: OpenAIServer, receiver: OtlpReceiver, *, port: int = 0, **further: str) -> Service:
    """Return the service *name*, not yet started: it asks *model*, and exports to *receiver*.

    Args:
        name: Its name in telemetry, its module and the name of its own agent.
        model: The model's host.
        receiver: Where it exports to.
        port: Port on 127.0.0.1. 0 takes a free one.
        **further: Variables besides.
    """
    environment = {
        "OPENAI_API_KEY": "not-needed",
        "OPENAI_BASE_URL": model.base_url,
        "OTELIER_APP": name,
        "OTELIER_ENV": "demo",
        "OTEL_SERVICE_NAME": name,
        "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=otelier-demo",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "otel,otelier",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        CAPTURE_SETTING: KEPT_HEADERS,
        **standard_logging(),
        **further,
    }
    return Service(f"otelier.cli.demo.apps.{name}:app", environment, port=port)


def standard_logging() -> Mapping[str, str]:
    """Return what makes the standard `logging` export: its instrumentation does since 0.61b0, the SDK did before."""
    found = files("opentelemetry-instrumentation-logging") or ()
    if any(file.name == "handler.py" for file in found):
        return {}
    return {"OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true"}
