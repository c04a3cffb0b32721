"""Handlers that a worker is given: those of its modules, and those that a handler called as a function may call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, cast

from otelier.errors import WorkflowUseError
from otelier.workflows._checks import checked_service
from otelier.workflows._handlers import Handler, known_handlers


def handlers_in(
    modules: Iterable[ModuleType | str | Handler | type], service_name: str
) -> dict[tuple[str, str], Handler]:
    """Return the handlers of *modules*, by service and name; those without a service belong to *service_name*.

    A text `module:service` gives the handlers of a module that name none that service.

    Raises:
        WorkflowUseError: if two of them have one name, or one of them is no module.
    """
    found: dict[tuple[str, str], Handler] = {}
    for one in _listed(modules):
        place = (one.service or service_name, one.name)
        former = found.get(place)
        if former is not None and former is not one and not _is_defined_again(former, one):
            raise WorkflowUseError(
                f"Service {place[0]!r} has two handlers named {one.name!r}, in {former.__module__} and in "
                f"{one.__module__}: a stored run would not know which is its own. Rename one by `name=`."
            )
        found[place] = one
    _refuse_types_of_two_services(found)
    return found


def handlers_beside(handler: Handler) -> list[Handler]:
    """Return *handler* and those it may call where it is called as a function: of its module, and of named services.

    Of two of one name the one that was defined last is taken.
    """
    found: dict[tuple[str | None, str], Handler] = {}
    for one in known_handlers():
        if one.service is not None or one.__module__ == handler.__module__:
            found[one.service, one.name] = one
    found[handler.service, handler.name] = handler
    return list(found.values())


def _listed(modules: Iterable[ModuleType | str | Handler | type]) -> Iterable[Handler]:
    if isinstance(modules, (str, bytes)) or not isinstance(cast("Any", modules), Iterable):
        raise WorkflowUseError(
            f"Cannot take {modules!r} as `modules`: give a list of modules, by themselves or as text, or of handlers."
        )
    for module in modules:
        if isinstance(module, Handler):
            yield module
            continue
        if isinstance(module, type):  # one that `entity` decorates
            yield from _methods_of(module)
            continue
        name, _, service = module.partition(":") if isinstance(module, str) else (module, "", "")
        for handler in _handlers_of(_imported(name)):
            if service and handler.service is None:
                handler.service = checked_service(service)
            yield handler


def _handlers_of(module: ModuleType) -> Iterable[Handler]:
    for value in list(vars(module).values()):
        if isinstance(value, Handler):
            yield value
        elif isinstance(value, type) and value.__module__ == module.__name__:
            yield from _methods_of(value)


def _methods_of(decorated: type) -> Iterable[Handler]:
    return (each for each in vars(decorated).values() if isinstance(each, Handler))


def _imported(module: Any) -> ModuleType:
    if isinstance(module, str):
        import importlib

        return importlib.import_module(module)
    if isinstance(module, ModuleType):
        return module
    raise WorkflowUseError(
        f"Cannot take handlers from a {type(module).__name__}: name modules, by themselves or as text, or handlers."
    )


def _is_defined_again(former: Handler, later: Handler) -> bool:
    """Return whether the definition was run again: a cell of a notebook, a reloaded module, a function in a test."""
    return (former.__module__, former.function.__qualname__) == (later.__module__, later.function.__qualname__)


def _refuse_types_of_two_services(handlers: Mapping[tuple[str, str], Handler]) -> None:
    services: dict[str, str] = {}
    for (service, name), one in handlers.items():
        if one.kind in ("write", "read"):
            kind = name.partition(".")[0]
            if services.setdefault(kind, service) != service:
                raise WorkflowUseError(
                    f"Entity {kind!r} has methods in the services {services[kind]!r} and {service!r}: its state would "
                    f"be in two places. Give all of them one `service=`."
                )
