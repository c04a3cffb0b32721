"""`otelier worker`: import modules, and serve their handlers."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from otelier import settings
from otelier.cli._steps import progress, results
from otelier.cli.runs._asking import EngineOption
from otelier.errors import OtelierError, WorkflowUseError

if TYPE_CHECKING:
    from otelier import Worker

_MAX_MODULES = 1_000
_LOOK_S = 0.2
"""How often a worker that stands by looks whether it has taken over."""
_IDLE_S = 0.5
"""How long an idle thread may take to end."""
_SHOWN_KINDS = {"write": "entity", "read": "entity"}


def worker(
    modules: Annotated[
        list[str], typer.Argument(metavar="MODULE[:SERVICE]…", help="Modules with handlers, such as app.orders:shop.")
    ],
    *,
    service: Annotated[
        str | None,
        typer.Option(help="Service of the handlers that name none. Without it, that of MODULE, or its last name."),
    ] = None,
    engine: EngineOption = None,
    version: Annotated[int, typer.Option(min=0, max=1_000, help="Version of this code, for new runs.")] = 1,
) -> None:
    """Run workflows, functions and entities until SIGTERM or Ctrl-C.

    It then takes nothing new, gives steps that run 20 seconds to end, and leaves the rest for its next start.
    A second one ends it at once. A worker beside another one of the same file stands by, and takes over from it.
    Modules are found as Python finds them, first in the current folder.
    """
    if len(modules) > _MAX_MODULES:
        raise WorkflowUseError(f"Cannot serve {len(modules):,} modules: {_MAX_MODULES:,} are the limit.")
    address = settings.ENGINE.value(engine)
    named = [_named(one, service) for one in modules]
    if settings.exporter_is_configured():
        # Before the modules, whose own `init` may say more. Imported here: it loads the SDK.
        from otelier import init

        init()
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    for one in named:
        _import(one.partition(":")[0])
    try:
        from otelier import Worker

        made = Worker(service or named[0].partition(":")[2], modules=named, engine=address, version=version)
    except (TypeError, ValueError) as exc:
        raise OtelierError(str(exc)) from exc
    asyncio.run(_serve(made, address))
    _leave_threads()


def _named(text: str, service: str | None) -> str:
    """Return `module:service`; handlers that name a service keep it."""
    module, colon, own = text.partition(":")
    if not all(part.isidentifier() for part in module.split(".")) or (colon and not own):
        raise WorkflowUseError(
            f"Cannot serve {text[:100]!r}: it names no module. Write {_written(module)}, or `package.module:service`."
        )
    return f"{module}:{own or service or module.rpartition('.')[2]}"


def _written(text: str) -> str:
    """Return how the module is written that *text*, perhaps the path of a file, means."""
    parts = [part for part in text.removesuffix(".py").replace("\\", "/").split("/") if part not in ("", ".")]
    meant = ".".join(parts)
    is_path = meant != text and all(part.isidentifier() for part in meant.split("."))
    return f"`{meant}`" if is_path else "`package.module`"


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as exc:
        # What is missing inside the module is the user's, and shown with its traceback.
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise _told(module, exc) from exc
        if module.endswith(".py"):
            raise WorkflowUseError(
                f"Cannot serve {module!r}: that names a file, not a module. Write {_written(module)}."
            ) from exc
        raise WorkflowUseError(
            f"Cannot import {module!r}: there is no module {exc.name!r} in {Path.cwd()} or where Python looks. Run "
            f"this in the folder that holds it, or install it."
        ) from exc
    except Exception as exc:
        raise _told(module, exc) from exc


def _told(module: str, error: Exception) -> OtelierError:
    """Print the traceback of what a module raised, from its own first line on, and return the line that closes it."""
    frame, ours = error.__traceback__, (__file__, importlib.__file__, "<frozen ")
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(ours):
        frame = frame.tb_next
    traceback.print_exception(type(error), error, frame)
    return OtelierError(f"Cannot import {module!r}: it raised {type(error).__name__}, as shown above.")


class _Warnings(logging.Handler):
    """Shows warnings of otelier where OpenTelemetry's handler is the only other one: Python would show nothing then."""

    def emit(self, record: logging.LogRecord) -> None:
        if all(one is self or type(one).__module__.startswith("opentelemetry.") for one in _handlers(record.name)):
            _tell(self.format(record))


def _handlers(name: str) -> Iterator[logging.Handler]:
    """Yield the handlers that a record of a logger reaches."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


async def _serve(worker: Worker, address: str) -> None:
    stop = asyncio.Event()
    restore = _on_signals(stop.set)
    logger, warnings = logging.getLogger("otelier"), _Warnings(logging.WARNING)
    logger.addHandler(warnings)
    try:
        async with worker:
            _show(worker, address)
            watching = asyncio.create_task(_tell_of_standby(worker))
            ending = asyncio.create_task(stop.wait())
            serving = asyncio.create_task(worker.wait())
            await asyncio.wait((ending, serving), return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            serving.cancel()
            watching.cancel()
            restore()
            _tell("stopping; steps that run get 20 s to end. A second signal ends it at once.")
    finally:
        restore()
        logger.removeHandler(warnings)


async def _tell_of_standby(worker: Worker) -> None:
    """Say that the worker stands by, and then that it has taken over."""
    if worker.engine.is_driving():
        return
    _tell("stands by: another process drives this file. It takes over when that one ends.")
    while not worker.engine.is_driving():  # noqa: ASYNC110 -- nothing tells of it
        await asyncio.sleep(_LOOK_S)
    _tell("has taken over, and drives the file.")


def _tell(text: str) -> None:
    with contextlib.suppress(SystemExit):  # as in `_show`
        progress().print(f"otelier worker: {text}", style="dim", markup=False, soft_wrap=True)


def _leave_threads() -> None:
    """End the process, although steps that block go on in their threads, for which Python would wait."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("otelier-step")]
    for thread in threads:
        thread.join(_IDLE_S)
    if any(thread.is_alive() for thread in threads):
        _tell("a step goes on in its thread, and is left there; it runs again at the next start.")
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(0)  # telemetry was flushed when the worker ended


def _on_signals(stop: Callable[[], object]) -> Callable[[], None]:
    """Call *stop* on the loop when the process is told to end; what is returned lets the next signal end it at once."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def told(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop)

    for number in numbers:
        signal.signal(number, told)

    def restore() -> None:
        # Not what was there before: asyncio's own handler would cancel what ends in order, and wait for threads.
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)

    return restore


def _show(worker: Worker, address: str) -> None:
    """Print what is served, as long as somebody reads it: `| head -1` is no reason to end."""
    with contextlib.suppress(SystemExit):  # rich's answer to a closed pipe; it has opened /dev/null in its place
        _print(worker, address)


def _print(worker: Worker, address: str) -> None:
    console = results()
    console.print(
        Text.assemble("otelier worker, version ", str(worker.version), ", serves from ", (_place(address), "bold")),
        soft_wrap=True,  # a path that is cut in two cannot be copied
    )
    services: dict[str, list[str]] = {}
    for (service, name), handler in worker.handlers.items():
        kind = _SHOWN_KINDS.get(handler.kind, handler.kind)
        shown = f"{kind} {name.partition('.')[0] if kind == 'entity' else name}"
        if shown not in services.setdefault(service, []):
            services[service].append(shown)
    for service, shown in sorted(services.items()):
        console.print(Text.assemble("  ", (service, "bold"), f"  {', '.join(sorted(shown))}"), soft_wrap=True)
    for url in worker.engine.registered:
        console.print(f"  The server reaches it at {url}", style="dim", soft_wrap=True)
    if address.partition(":")[0] == "memory":
        console.print("  Only this process reaches these runs; with `--engine file:PATH` others do.", style="dim")
    sys.stdout.flush()


def _place(address: str) -> str:
    kind, _, path = address.partition(":")
    return f"file:{Path(path).expanduser().resolve()}" if kind == "file" else address
