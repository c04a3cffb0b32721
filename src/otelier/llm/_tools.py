"""Tools that a model may call, and the registry that finds their handlers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from otelier.errors import UnknownToolError
from otelier.llm._schemas import is_model_class

if TYPE_CHECKING:
    from pydantic import BaseModel

Handler = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool as the model is told of it, and the function behind it.

    Example:
        >>> tool = Tool(name="search", handler=print, description="Search the web.")
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

    def to_param(self) -> dict[str, Any]:
        """Return the tool as chat completions take it."""
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": dict(self.schema)},
        }


class Tools:
    """A registry of tools: `register` adds one, `handler` finds the function that a model's call names.

    Iterating over it gives its tools, so it can be handed to `generate` and `stream` as a whole.

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
        self._tools: dict[str, Tool] = {}

    def register(
        self,
        name: str,
        handler: Handler,
        description: str | None = None,
        schema: Mapping[str, Any] | type[BaseModel] | None = None,
    ) -> Tool:
        """Add a tool and return it; one of the same name is replaced.

        Args:
            name: What the model calls it by. Most providers take letters, digits, `_` and `-`, at most 64 of them.
            handler: A plain or async function that takes the arguments by name.
            description: What it is good for. `None` takes the first paragraph of the handler's docstring.
            schema: Of the arguments: a JSON schema, or a pydantic model class. `None` makes one of the handler's
                signature.

        Raises:
            TypeError: if an argument has the wrong type, or no schema can be made of the handler's signature.
        """
        if not isinstance(cast("object", name), str) or not name:
            raise TypeError(f"Cannot register a tool as {name!r}: a model calls it by its name. Give a text.")
        if not callable(cast("object", handler)):
            raise TypeError(f"Cannot register tool {name!r} with {handler!r}: it cannot be called. Give a function.")
        if description is not None and not isinstance(cast("object", description), str):
            raise TypeError(f"Cannot describe tool {name!r} by {description!r}: give a text, or give it as `schema=`.")
        tool = Tool(
            name=name,
            handler=handler,
            description=_first_paragraph(handler) if description is None else description,
            schema=_schema_of(name, handler, schema),
        )
        self._tools[name] = tool
        return tool

    def handler(self, name: str) -> Handler:
        """Return the handler that was registered under *name*.

        Raises:
            UnknownToolError: if there is none; models make names up.
        """
        if (tool := self._tools.get(name)) is not None:
            return tool.handler
        known = ", ".join(map(repr, self._tools)) or "none"
        raise UnknownToolError(
            f"Cannot find tool {name!r}: nothing is registered under that name, only {known}. "
            "Add it with `tools.register`, or tell the model by `call.to_message(str(error))`.",
            tool=name,
        )

    def __iter__(self) -> Iterator[Tool]:
        return iter(tuple(self._tools.values()))

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools


def _first_paragraph(handler: Handler) -> str:
    return " ".join((inspect.getdoc(handler) or "").partition("\n\n")[0].split())


def _schema_of(name: str, handler: Handler, schema: Any) -> Mapping[str, Any]:
    if is_model_class(schema):
        return schema.model_json_schema()
    if isinstance(schema, Mapping):
        return cast("Mapping[str, Any]", schema)
    if schema is not None:
        raise TypeError(f"Cannot register tool {name!r} with schema {schema!r}: give a JSON schema or a model class.")
    import pydantic  # not before it is needed: `import otelier.llm` stays light

    cause: Exception | None = None
    try:
        made = pydantic.TypeAdapter(cast("Any", handler)).json_schema()
        if made.get("type") == "object":  # one of positional parameters is an array
            return made
    except Exception as exc:  # pydantic has many words for it, and a name that does not resolve is a NameError
        cause = exc
    raise TypeError(
        f"Cannot make a schema of the signature of tool {name!r}: a model gives arguments by name, as JSON. "
        "Annotate its parameters with types that JSON has, or give `schema=`."
    ) from cause
