"""Registry of tools: their schemas for the model, and their handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from otelier.errors import ToolArgumentsError, ToolError, UnknownToolError
from otelier.llm._answers import ToolCall, arguments_error
from otelier.llm._introspection import read_docstring
from otelier.llm._json import sendable_schema
from otelier.llm._schemas import is_model_class, pydantic_problems, schema_problems

if TYPE_CHECKING:
    from pydantic import BaseModel

    from otelier.llm._signature import Signature

Handler = Callable[..., Any]
Converter = Callable[[Mapping[str, Any]], dict[str, Any]]


class OfferedTool(Protocol):
    """A tool that can be offered to a model: a registered one, or a function that `otelier.tool` made one."""

    def to_param(self) -> dict[str, Any]:
        """Return the tool in the format of chat completions."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredTool:
    """A registered tool: its description and schema for the model, and its function.

    Example:
        >>> tool = RegisteredTool(name="search", handler=print, description="Search the web.")
        >>> tool.to_param()["function"]["name"]
        'search'
    """

    name: str
    """What the model calls it by."""
    handler: Handler = field(repr=False)
    """The function that does the work, plain or async; it takes the arguments by name."""
    description: str = ""
    """What it is good for, in words for the model."""
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON schema of its arguments."""
    converter: Converter | None = field(default=None, repr=False, compare=False)
    """Makes of the arguments what the handler takes; `None` holds them against `schema` and leaves them as they are."""

    def to_param(self) -> dict[str, Any]:
        """Return the tool in the format of chat completions."""
        return param_of(self.name, self.description, self.schema)

    def arguments(self, call: ToolCall) -> dict[str, Any]:
        """Return the validated arguments of *call* for the handler; see `Tools.arguments`."""
        given = call.arguments
        problems = schema_problems(given, self.schema) if self.converter is None else []
        try:
            if problems:
                raise arguments_error(self.name, problems)
            return given if self.converter is None else self.converter(given)
        except ToolArgumentsError as exc:
            exc.call_id = call.id
            raise


def param_of(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool as chat completions take it."""
    return {"type": "function", "function": {"name": name, "description": description, "parameters": dict(schema)}}


class Tools:
    """A registry of tools: `register` adds a tool, `handler` returns the function for a model's call.

    Iterating over it yields its tools, so you can pass the registry to `generate` and `stream`.

    Example:
        >>> tools = Tools()
        >>> def search(query: str, max_results: int = 3) -> str:
        ...     \"\"\"Search the web.\"\"\"
        ...     return f"{max_results} pages about {query}"
        >>> tool = tools.register("search", search)
        >>> tool.description, tool.schema["required"]
        ('Search the web.', ['query'])
        >>> tools.handler("search")(query="parcels")
        '3 pages about parcels'
    """

    def __init__(self) -> None:
        self._tools: dict[str, RegisteredTool] = {}

    def register(
        self,
        name: str,
        handler: Handler,
        description: str | None = None,
        schema: Mapping[str, Any] | type[BaseModel] | None = None,
    ) -> RegisteredTool:
        """Add a tool and return it; it replaces a tool of the same name.

        Args:
            name: Name for the model. Most providers accept at most 64 letters, digits, `_` and `-`.
            handler: A plain or async function that receives the arguments by name.
            description: Description for the model. `None` uses the handler's docstring, without its sections about
                parameters and results.
            schema: Schema of the arguments: a JSON schema or a pydantic model class. `None` derives one from the
                handler's signature.

        Raises:
            TypeError: if an argument has the wrong type, or no schema can be derived from the handler's signature.
        """
        if not isinstance(cast("object", name), str) or not name:
            raise TypeError(f"Cannot register a tool as {name!r}: a model calls it by its name. Give a text.")
        if not callable(cast("object", handler)):
            raise TypeError(f"Cannot register tool {name!r} with {handler!r}: it cannot be called. Give a function.")
        if description is not None and not isinstance(cast("object", description), str):
            raise TypeError(f"Cannot describe tool {name!r} by {description!r}: give a text, or give it as `schema=`.")
        tool = RegisteredTool(
            name=name,
            handler=handler,
            description=read_docstring(handler)[0] if description is None else description,
            **_schema_of(name, handler, schema),
        )
        self._tools[name] = tool
        return tool

    def handler(self, name: str) -> Handler:
        """Return the handler that was registered under *name*.

        Raises:
            UnknownToolError: if there is none; models invent names.
        """
        return self._found(name).handler

    def arguments(self, call: ToolCall) -> dict[str, Any]:
        """Return the validated arguments of *call* by name, for the handler.

        They are validated against the tool's schema. If that was derived from the handler's signature, or is a model
        class, they are converted too: a date is then a `date` and not text.

        Raises:
            UnknownToolError: if no tool has the name that the model calls.
            ToolArgumentsError: if they are not a JSON object, or do not match; the message is meant for the model.

        Example:
            >>> from otelier import llm
            >>> tools = llm.Tools()
            >>> tool = tools.register("book", lambda day: day, "Book a day.", {"required": ["day"]})
            >>> tools.arguments(llm.ToolCall(id="call_1", name="book", arguments_json='{"day": "today"}'))
            {'day': 'today'}
        """
        return self._found(call.name).arguments(call)

    def _found(self, name: str) -> RegisteredTool:
        if (tool := self._tools.get(name)) is not None:
            return tool
        raise unknown_tool(name, self._tools)

    def __iter__(self) -> Iterator[RegisteredTool]:
        return iter(tuple(self._tools.values()))

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools


tools: Final = Tools()
"""The registry of the process, for programs that need no other: `register`, `handler` and `arguments` as of any."""


def unknown_tool(name: str, known: Iterable[str]) -> UnknownToolError:
    """Return the error for a call of a tool that is not there; it lists those that are."""
    listed = ", ".join(map(repr, known)) or "none"
    return UnknownToolError(f"There is no tool {name!r}, only {listed}. Call one of these, or none.", tool=name)


def _schema_of(name: str, handler: Handler, schema: Any) -> dict[str, Any]:
    """Return schema and converter."""
    if is_model_class(schema):
        return {"schema": sendable_schema(schema.model_json_schema()), "converter": partial(_from_model, name, schema)}
    if isinstance(schema, Mapping):
        return {"schema": cast("Mapping[str, Any]", schema)}
    if schema is not None:
        raise TypeError(f"Cannot register tool {name!r} with schema {schema!r}: give a JSON schema or a model class.")
    from otelier.llm._signature import Signature  # loads pydantic: `import otelier.llm` stays light

    cause: Exception | None = None
    try:
        signature = Signature(handler, name)
        if not signature.by_place:
            return {"schema": signature.schema, "converter": partial(_from_signature, signature)}
    except (ToolError, ValueError) as exc:  # `inspect` cannot read the signature of every built-in function
        cause = exc
    raise TypeError(
        f"Cannot make a schema of the signature of tool {name!r}: a model gives arguments by name, as JSON. "
        "Annotate its parameters with types that JSON has, or give `schema=`."
    ) from cause


def _from_signature(signature: Signature, given: Mapping[str, Any]) -> dict[str, Any]:
    return signature.bind(given)[1]


def _from_model(name: str, model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    from pydantic import ValidationError

    try:
        return dict(model.model_validate(given))
    except ValidationError as exc:
        problems = pydantic_problems(exc)
    raise arguments_error(name, problems)
