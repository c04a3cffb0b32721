"""`otelier worker`: import modules, and serve their handlers."""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from otelier import settings
from otelier.cli._steps import progress, results
from otelier.errors import OtelierError, WorkflowUseError

if TYPE_CHECKING:
    from otelier import Worker

_PLACES = (
    *(settings.TRACES_EXPORTER, settings.METRICS_EXPORTER, settings.LOGS_EXPORTER, settings.ENDPOINT),
    *(settings.TRACES_ENDPOINT, settings.METRICS_ENDPOINT, settings.LOGS_ENDPOINT, settings.CONFIG_FILE),
)
_MAX_MODULES = 1_000
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
    engine: Annotated[
        str | None, typer.Option(help="Where runs are kept: file:PATH. Without it, OTELIER_ENGINE.")
    ] = None,
    version: Annotated[int, typer.Option(min=0, max=1_000, help="Version of this code, for new runs.")] = 1,
) -> None:
    """Run workflows, functions and entities until SIGTERM or Ctrl-C.

    It then takes nothing new, gives steps that run 20 seconds to end, and leaves the rest for its next start.
    Modules are found as Python finds them, first in the current folder.
    """
    if len(modules) > _MAX_MODULES:
        raise WorkflowUseError(f"Cannot serve {len(modules):,} modules: {_MAX_MODULES:,} are the limit.")
    address = settings.ENGINE.value(engine)
    named = [_named(one, service) for one in modules]
    if any(place.value() for place in _PLACES):
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


def _named(text: str, service: str | None) -> str:
    """Return `module:service`; handlers that name a service keep it."""
    module, colon, own = text.partition(":")
    if not all(part.isidentifier() for part in module.split(".")) or (colon and not own):
        raise WorkflowUseError(
            f"Cannot serve {text[:100]!r}: it names no module. Write `package.module`, or `package.module:service`."
        )
    return f"{module}:{own or service or module.rpartition('.')[2]}"


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as exc:
        # What is missing inside the module is the user's, and shown with its traceback.
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise
        raise WorkflowUseError(
            f"Cannot import {module!r}: there is no module {exc.name!r} in {Path.cwd()} or where Python looks. Run "
            f"this in the folder that holds it, or install it."
        ) from exc


async def _serve(worker: Worker, address: str) -> None:
    stop = asyncio.Event()
    restore = _on_signals(stop.set)
    try:
        async with worker:
            _show(worker, address)
            ending = asyncio.create_task(stop.wait())
            serving = asyncio.create_task(worker.wait())
            await asyncio.wait((ending, serving), return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            serving.cancel()
            restore()  # a second one ends it at once
            progress().print("otelier worker: stopping; steps that run get 20 s to end.", style="dim")
    finally:
        restore()


def _on_signals(stop: Callable[[], object]) -> Callable[[], None]:
    """Call *stop* on the loop when the process is told to end, and return what undoes that."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}

    def told(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop)

    for number in numbers:
        signal.signal(number, told)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore


def _show(worker: Worker, address: str) -> None:
    console = results()
    console.print(
        Text.assemble("otelier worker, version ", str(worker.version), ", serves from ", (_place(address), "bold"))
    )
    services: dict[str, list[str]] = {}
    for (service, name), handler in worker.handlers.items():
        kind = _SHOWN_KINDS.get(handler.kind, handler.kind)
        shown = f"{kind} {name.partition('.')[0] if kind == 'entity' else name}"
        if shown not in services.setdefault(service, []):
            services[service].append(shown)
    for service, shown in sorted(services.items()):
        console.print(Text.assemble("  ", (service, "bold"), f"  {', '.join(sorted(shown))}"), soft_wrap=True)
    sys.stdout.flush()


def _place(address: str) -> str:
    kind, _, path = address.partition(":")
    return f"file:{Path(path).expanduser().resolve()}" if kind == "file" else address
