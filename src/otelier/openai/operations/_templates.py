"""What all calls of one operation to one server and model share: the span's name and what it starts with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.telemetry import fit_text

OPENAI: Final = "openai"
AZURE: Final = "azure.ai.openai"
HTTPS_PORT: Final = 443

_AZURE_CLIENT = "BaseAzureClient"
_AZURE_HOSTS = ".openai.azure.com"

# Models and clients are the application's; both are few in any sane process, and rebuilding a template costs 2 us.
_MAX_SERVERS = 64
_MAX_MODELS = 256
_LONGEST_MODEL = 256  # a longer one is none, and is not kept: 256 texts of a megabyte would be


@dataclass(frozen=True, slots=True)
class Template:
    """Shared by spans and metric points, so it is never changed; the SDK copies what it is given."""

    name: str
    """The span's name."""
    start: dict[str, AttributeValue]
    """What the span starts with, all that a sampler may look at; metrics carry the same."""


@dataclass(frozen=True, slots=True)
class _Server:
    url: Any
    """Held, so that its id stays its own."""
    start: dict[str, AttributeValue]
    address: dict[str, AttributeValue]
    templates: dict[str | None, Template] = field(default_factory=dict[str | None, Template])


class Templates:
    """The templates of one operation."""

    __slots__ = ("_operation", "_servers")

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._servers: dict[int, _Server] = {}

    def of(self, resource: Any, model: Any) -> Template:
        """Return the template for a call of *resource*'s client that asks for *model*."""
        try:
            url = resource._client._base_url  # the public property imports a module each time, 1 us since openai 3
        except AttributeError:
            url = getattr(getattr(resource, "_client", None), "base_url", None)  # `None` for a mocked client
        # By identity: an URL is hashed and parsed anew each time, its `host` alone takes 1 us.
        server = self._servers.get(id(url))
        if server is None:
            server = self._add(url, resource)
        if type(model) is not str:
            model = _as_text(model)
        template = server.templates.get(model)
        return self._make(server, model) if template is None else template

    def _add(self, url: Any, resource: Any) -> _Server:
        if len(self._servers) >= _MAX_SERVERS:
            self._servers.clear()
        provider = _provider(getattr(resource, "_client", None), url)
        start: dict[str, AttributeValue] = {names.OPERATION: self._operation, names.PROVIDER: provider}
        server = self._servers[id(url)] = _Server(url, start, _address(url))
        return server

    def _make(self, server: _Server, model: str | None) -> Template:
        start, told = dict(server.start), ""
        if model is not None:
            start[names.REQUEST_MODEL] = told = fit_text(model) or ""
        start.update(server.address)
        template = Template(f"{self._operation} {told}" if told else self._operation, start)
        if model is None or len(model) <= _LONGEST_MODEL:
            if len(server.templates) >= _MAX_MODELS:
                server.templates.clear()
            server.templates[model] = template
        return template


def _provider(client: Any, url: Any) -> str:
    """Return who the server is, as far as client and host tell; others speak the API too, and their host says who."""
    if any(base.__name__ == _AZURE_CLIENT for base in type(client).__mro__):
        return AZURE
    return AZURE if str(getattr(url, "host", "")).endswith(_AZURE_HOSTS) else OPENAI


def _address(url: Any) -> dict[str, AttributeValue]:
    host, port = getattr(url, "host", None), getattr(url, "port", None)
    found: dict[str, AttributeValue] = {}
    if isinstance(host, str) and host:
        found[names.SERVER_ADDRESS] = host
    if isinstance(port, int) and port not in (0, HTTPS_PORT):
        found[names.SERVER_PORT] = port
    return found


def _as_text(model: Any) -> str | None:
    """Return members of a `str` Enum as their text; the client's marks for "not given" are nothing."""
    return str.__str__(model) if isinstance(model, str) else None
