"""The programs of the demonstration as child processes under `opentelemetry-instrument`."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path
from typing import TYPE_CHECKING

from otelier.errors import OtelierError
from otelier.testing import OpenAIServer, OtlpReceiver

if TYPE_CHECKING:
    from typing_extensions import Self


START_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 60.0
_LISTENING = re.compile(r"running on http://127\.0\.0\.1:(\d+)")
_SERVING = re.compile("serves from ")
_NAMESPACE = "service.namespace=otelier-demo"
_ENDING = (signal.SIGINT, signal.SIGTERM)
_OURS_ALONE = ("OTEL_", "OTELIER_", "OPENAI_", "UVICORN_")
_CAPTURE_SETTING = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST"
_KEPT_HEADERS = "baggage,traceparent"
"""Headers recorded on the request spans, for the table of what each server received."""


class ServiceError(OtelierError):
    """The program did not start, or did not stop."""


class Program:
    """A child process, `opentelemetry-instrument <words>`; `with` ends it in any case.

    Args:
        words: The command that a user would type, without `opentelemetry-instrument`.
        arguments: What this interpreter is started with for it.
        environment: Variables on top of `inherited_environment()`.
        ready: Found in the line that it prints once it works.
    """

    def __init__(
        self, words: str, arguments: Sequence[str], environment: Mapping[str, str], *, ready: re.Pattern[str]
    ) -> None:
        self.command = f"opentelemetry-instrument {words}"
        """The command that a user would type."""
        self._arguments = arguments
        self._environment = {**inherited_environment(), **environment}
        self._ready = ready
        self._process: subprocess.Popen[str] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._output: deque[str] = deque(maxlen=40)
        self._answers = False
        self._known = threading.Event()
        self._listener = threading.Thread(target=self._listen, name="service output", daemon=True)

    def start(self) -> None:
        """Start the process, and do not wait for it: several start side by side."""
        # An empty folder: both programs put the current one on the path, where a file may be named like a module.
        self._folder = tempfile.TemporaryDirectory(prefix="otelier-demo-")
        with _undisturbed():
            self._process = subprocess.Popen(  # noqa: S603 - the programs are named here
                [_instrument(), sys.executable, *self._arguments],
                env=self._environment,
                cwd=self._folder.name,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                # Ctrl-C in the terminal reaches this process only, which then stops the child in its own way.
                start_new_session=True,
            )
        self._listener.start()

    def wait(self) -> None:
        """Wait until it works.

        Raises:
            ServiceError: if it ends before, or takes too long.
        """
        if not self._known.wait(START_TIMEOUT_S) or not self._answers:
            raise ServiceError(f"`{self.command}` did not start. Its output:\n{self.output}")

    def stop(self) -> None:
        """Ask the process to end, as a container's runtime would, and wait until it has.

        Raises:
            ServiceError: if it had ended before, or has to be killed.
        """
        process = self._process
        assert process is not None, "stop() before start()"
        if process.poll() is not None:
            raise ServiceError(
                f"`{self.command}` ended by itself with {process.returncode}. Its output:\n{self.output}"
            )
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired as exc:
            text = f"`{self.command}` did not end within {STOP_TIMEOUT_S:.0f} s. Its output:\n{self.output}"
            raise ServiceError(text) from exc

    def kill(self) -> int:
        """End the process as a crash would, by SIGKILL, and return its exit code."""
        assert self._process is not None, "kill() before start()"
        with _undisturbed():
            self._process.kill()
            return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        if self._listener.ident is not None:
            self._listener.join(STOP_TIMEOUT_S)
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def output(self) -> str:
        """The last lines that the process printed."""
        return "\n".join(f"  {line}" for line in self._output) or "  none"

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._output.append(line.rstrip())
                if not self._answers and (found := self._ready.search(line)):
                    self._works(found)
                    self._answers = True
                    self._known.set()
        self._known.set()

    def _works(self, found: re.Match[str]) -> None:
        """Note what the line says by which the program tells that it works."""


class Service(Program):
    """An ASGI application: `opentelemetry-instrument uvicorn <target>`.

    Args:
        target: Module and application, as uvicorn takes them.
        environment: Variables on top of `inherited_environment()`.
        port: Port on 127.0.0.1. 0 takes a free one, which is known when it listens.
    """

    def __init__(self, target: str, environment: Mapping[str, str], *, port: int = 0) -> None:
        arguments = ["-m", "uvicorn", target, "--port", str(port), "--no-access-log"]
        super().__init__(f"uvicorn {target}", arguments, environment, ready=_LISTENING)
        self.port = port
        """Port on 127.0.0.1; 0 until it is known."""

    @property
    def url(self) -> str:
        """Its address, once the port is known."""
        return f"http://127.0.0.1:{self.port}"

    def _works(self, found: re.Match[str]) -> None:
        self.port = int(found[1])


@contextmanager
def _undisturbed() -> Generator[None]:
    """Hold Ctrl-C and SIGTERM back until the block ends: a child that starts or ends meanwhile must not go on alone."""
    held: list[int] = []
    former = {number: signal.signal(number, lambda number, _: held.append(number)) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        for number in held:
            signal.raise_signal(number)


def free_port() -> int:
    """Return a free port, for a server whose address must be known before it starts.

    It is below the range from which systems assign ports, so nothing else is likely to take it meanwhile.
    """
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - it protects nothing
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:  # pragma: no cover -- somebody has that one
                continue
        return port


def inherited_environment() -> dict[str, str]:
    """Return this process's environment without the variables that would change the result."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS_ALONE)}
    # When this process runs under opentelemetry-instrument itself, the wrapper script must not.
    wrapper = Path("opentelemetry", "instrumentation", "auto_instrumentation").parts
    paths = [path for path in kept.get("PYTHONPATH", "").split(os.pathsep) if path and Path(path).parts[-3:] != wrapper]
    kept["PYTHONPATH"] = os.pathsep.join(paths)
    direct = "127.0.0.1,localhost"
    return {**kept, "NO_PROXY": direct, "no_proxy": direct, "PYTHONUNBUFFERED": "1"}


def _instrument() -> str:
    """Return the path of `opentelemetry-instrument`: beside this interpreter, whether or not that is on the path."""
    beside = Path(sys.executable).with_name("opentelemetry-instrument")
    found = str(beside) if beside.exists() else shutil.which("opentelemetry-instrument")
    if found is None:
        raise ServiceError(
            "Cannot find `opentelemetry-instrument`, which comes with opentelemetry-instrumentation. "
            "Run: pip install opentelemetry-instrumentation"
        )
    return found


HELPDESK, PAYMENTS, REFUNDS = "helpdesk", "payments", "refunds"


def service(name: str, model: OpenAIServer, receiver: OtlpReceiver, *, port: int = 0, **further: str) -> Service:
    """Return the service *name*, not yet started: it asks *model*, and exports to *receiver*.

    Args:
        name: Its name in telemetry, its module and the name of its own agent.
        model: The model's host.
        receiver: Where it exports to.
        port: Port on 127.0.0.1. 0 takes a free one.
        **further: Variables besides.
    """
    environment = {**_environment(name, model, receiver), **further}
    return Service(f"otelier.cli.demo.apps.{name}:app", environment, port=port)


def worker(number: int, model: OpenAIServer, receiver: OtlpReceiver, **further: str) -> Program:
    """Return the worker of the refunds, not yet started.

    Args:
        number: Which process of it this is, for telemetry.
        model: The model's host.
        receiver: Where it exports to.
        **further: Variables besides.
    """
    module = f"otelier.cli.demo.apps.{REFUNDS}"
    instance = {"OTEL_RESOURCE_ATTRIBUTES": f"{_NAMESPACE},service.instance.id={number}"}
    environment = {**_environment(REFUNDS, model, receiver), **instance, **further}
    arguments = ["-c", "from otelier.cli import main; main()", "worker", module]
    return Program(f"otelier worker {module}", arguments, environment, ready=_SERVING)


def _environment(name: str, model: OpenAIServer, receiver: OtlpReceiver) -> dict[str, str]:
    return {
        "OPENAI_API_KEY": "not-needed",
        "OPENAI_BASE_URL": model.base_url,
        "OTELIER_APP": name,
        "OTELIER_ENV": "demo",
        "OTEL_SERVICE_NAME": name,
        "OTEL_RESOURCE_ATTRIBUTES": _NAMESPACE,
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "otel,otelier",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        _CAPTURE_SETTING: _KEPT_HEADERS,
        **standard_logging(),
    }


def standard_logging() -> Mapping[str, str]:
    """Return what makes the standard `logging` export: its instrumentation does since 0.61b0, the SDK did before."""
    found = files("opentelemetry-instrumentation-logging") or ()
    if any(file.name == "handler.py" for file in found):
        return {}
    return {"OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true"}  # pragma: no cover -- of `make floor`
