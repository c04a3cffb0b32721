"""`generate` and `stream`: a question to a model, for the whole answer or for its pieces as they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, overload

from otelier.llm._answers import Answer, plain_body, read_answer
from otelier.llm._clients import Client, create
from otelier.llm._schemas import Reader, Schema, format_of, is_model_class, reader_of, reader_of_format
from otelier.llm._stream import USAGE_TOO, AnswerStream
from otelier.llm._tools import OfferedTool

if TYPE_CHECKING:
    from pydantic import BaseModel


Messages: TypeAlias = "Iterable[Mapping[str, Any]]"
"""Messages as chat completions have them."""
Prompt: TypeAlias = "str | Messages"
"""A question, or messages as chat completions have them."""
OfferedTools: TypeAlias = "Iterable[OfferedTool | Mapping[str, Any]]"
"""Tools that were registered, the registry itself, functions made tools, or tools as chat completions have them."""


def read_request(
    prompt: Prompt | None,
    messages: Messages | None,
    model: str | None,
    schema: Schema | None,
    response_format: Mapping[str, Any] | None,
    tools: OfferedTools | None,
    options: Mapping[str, Any],
) -> tuple[dict[str, Any], Reader | None]:
    """Return the arguments of `chat.completions.create`, and what reads its answer; `None` for plain text."""
    if "stream" in options:
        raise TypeError("Cannot take 'stream' as an option of the call: call `otelier.llm.stream`.")
    if prompt is not None and messages is not None:
        raise TypeError("Cannot ask with both a prompt and messages: put the question behind the messages.")
    if not isinstance(model, str):
        raise TypeError(f"Cannot ask model {model!r}: give its name as `model`.")
    request = {"model": model, "messages": _checked_messages(prompt if messages is None else messages), **options}
    if offered := [_tool_param(tool) for tool in tools or ()]:
        request["tools"] = offered
    reader: Reader | None = None
    if response_format is not None:
        if not isinstance(cast("object", response_format), Mapping):
            raise TypeError(f"Cannot ask for response_format {response_format!r}: give a dict, or a class as `schema`.")
        request["response_format"] = dict(response_format)
        reader = reader_of_format(response_format)
    if schema is not None:
        if not isinstance(schema, Mapping) and not is_model_class(schema):
            raise TypeError(f"Cannot ask for schema {schema!r}: give a pydantic model class or a JSON schema.")
        if response_format is None:
            request["response_format"] = format_of(schema)
        reader = reader_of(schema)
    return request, reader


def _checked_messages(prompt: Any) -> list[Any]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    messages: list[Any] = []
    if isinstance(prompt, Iterable) and not isinstance(prompt, (bytes, Mapping)):
        messages = list(cast("Iterable[Any]", prompt))
    if not messages or not all(isinstance(message, Mapping) for message in messages):
        raise TypeError(
            f"Cannot ask a model with a prompt of type {type(cast('Any', prompt)).__name__!r}: "
            "give a text, or a list of messages such as `{'role': 'user', 'content': 'Hello'}`."
        )
    return messages


def _tool_param(tool: Any) -> Any:
    if isinstance(tool, Mapping):
        return cast("Mapping[str, Any]", tool)
    to_param = getattr(tool, "to_param", None)  # asking whether it is an `OfferedTool` takes 6 us
    if to_param is not None:
        return to_param()
    raise TypeError(f"Cannot offer {tool!r} as a tool: register it with `Tools.register`, and give what that returns.")


M = TypeVar("M", bound="BaseModel")


@overload
async def generate(
    prompt: Prompt,
    model: str,
    *,
    schema: type[M],
    response_format: Mapping[str, Any] | None = None,
    tools: tuple[()] | None = None,
    client: Client | None = None,
    **options: Any,
) -> Answer[M]: ...


@overload
async def generate(
    prompt: Prompt,
    model: str,
    *,
    schema: type[M],
    response_format: Mapping[str, Any] | None = None,
    tools: OfferedTools,
    client: Client | None = None,
    **options: Any,
) -> Answer[M | None]: ...


@overload
async def generate(
    prompt: Prompt,
    model: str,
    *,
    schema: Mapping[str, Any] | None = None,
    response_format: Mapping[str, Any] | None = None,
    tools: OfferedTools | None = None,
    client: Client | None = None,
    **options: Any,
) -> Answer[Any]: ...


@overload
async def generate(
    *,
    messages: Messages,
    model: str,
    schema: type[BaseModel] | Mapping[str, Any] | None = None,
    response_format: Mapping[str, Any] | None = None,
    tools: OfferedTools | None = None,
    client: Client | None = None,
    **options: Any,
) -> Answer[Any]: ...


async def generate(
    prompt: Prompt | None = None,
    model: str | None = None,
    *,
    messages: Messages | None = None,
    schema: type[BaseModel] | Mapping[str, Any] | None = None,
    response_format: Mapping[str, Any] | None = None,
    tools: OfferedTools | None = None,
    client: Client | None = None,
    **options: Any,
) -> Answer[Any]:
    """Ask a model, and return its answer.

    One call of this function is one call of `chat.completions.create`, and so has one span, however often the client
    retries; this function creates no span itself.

    Args:
        prompt: A text, or messages in the format of chat completions.
        model: Name of the model.
        messages: Messages in place of *prompt*, under the name that chat completions use.
        schema: Schema of the answer's `object`: a pydantic model class or a JSON schema. It is sent to the provider,
            and the answer is always validated against it. `None` asks for text.
        response_format: Sent to the provider in place of *schema*, in the format of chat completions; `object` is then
            the parsed JSON. If both are given, this one is sent, and *schema* validates the answer.
        tools: Tools returned by `Tools.register`, a registry, tools made by `otelier.tool`, or tools in the format of
            chat completions. `None` offers none.
        client: A client of the openai package, asynchronous or synchronous, with any `base_url`; a synchronous one is
            used in a thread. `None` uses one `AsyncOpenAI()` for each event loop, closed when the loop ends.
        options: Other arguments of `chat.completions.create`, such as `temperature`, `tool_choice` or `timeout`.

    Raises:
        AnswerError: if the provider sends no answer, or one that does not match *schema* or *response_format*; its
            subclasses are `RefusalError` and `UnfinishedAnswerError`. Plain text is returned as received: its
            `finish_reason` and `refusal` show whether it is complete.
        ClientUseError: if *client* is asynchronous, and was used on another event loop.
        openai.OpenAIError: exceptions of the client pass unchanged.
        TypeError: if an argument has the wrong type.

    Example:
        >>> import asyncio
        >>> from otelier import llm
        >>> answer = asyncio.run(llm.generate("Say this is a test", model="gpt-4o-mini"))
        >>> answer.text, answer.usage.output_tokens
        ('This is a test.', 5)
    """
    request, reader = read_request(prompt, messages, model, schema, response_format, tools, options)
    return read_answer(plain_body(await create(client, request)), reader)


@overload
def stream(
    prompt: Prompt,
    model: str,
    *,
    schema: type[M],
    response_format: Mapping[str, Any] | None = None,
    tools: tuple[()] | None = None,
    client: Client | None = None,
    **options: Any,
) -> AnswerStream[M]: ...


@overload
def stream(
    prompt: Prompt,
    model: str,
    *,
    schema: type[M],
    response_format: Mapping[str, Any] | None = None,
    tools: OfferedTools,
    client: Client | None = None,
    **options: Any,
) -> AnswerStream[M | None]: ...


@overload
def stream(
    prompt: Prompt,
    model: str,
    *,
    schema: Mapping[str, Any] | None = None,
    response_format: Mapping[str, Any] | None = None,
    tools: OfferedTools | None = None,
    client: Client | None = None,
    **options: Any,
) -> AnswerStream[Any]: ...


@overload
def stream(
    *,
    messages: Messages,
    model: str,
    schema: type[BaseModel] | Mapping[str, Any] | None = None,
    response_format: Mapping[str, Any] | None = None,
    tools: OfferedTools | None = None,
    client: Client | None = None,
    **options: Any,
) -> AnswerStream[Any]: ...


def stream(
    prompt: Prompt | None = None,
    model: str | None = None,
    *,
    messages: Messages | None = None,
    schema: type[BaseModel] | Mapping[str, Any] | None = None,
    response_format: Mapping[str, Any] | None = None,
    tools: OfferedTools | None = None,
    client: Client | None = None,
    **options: Any,
) -> AnswerStream[Any]:
    """Ask a model, and return its answer as a stream.

    `async for chunk in stream(…)` and `async for chunk in await stream(…)` differ only in where an error of the call
    is raised. The stream's `collect` returns the whole answer, with tool calls and object.

    Args:
        prompt: As for `generate`, like all other arguments.
        model: Name of the model.
        messages: Messages in place of *prompt*.
        schema: Schema of the collected answer's `object`.
        response_format: Sent in place of *schema*, in the format of chat completions.
        tools: Tools that the model may call.
        client: `None` uses one for each event loop.
        options: Other arguments of `chat.completions.create`. Usage is requested unless `stream_options` is given;
            `stream_options=None` requests none. If a server rejects the request for usage, the call is repeated
            without it.

    Raises:
        TypeError: if an argument has the wrong type. Other errors are raised by the stream.

    Example:
        >>> import asyncio
        >>> from otelier import llm
        >>> async def tell():
        ...     async for chunk in await llm.stream("Say this is a test", model="gpt-4o-mini"):
        ...         print(chunk.text, end="")
        >>> asyncio.run(tell())
        Here is a short answer to: Say this is a test
    """
    request, reader = read_request(prompt, messages, model, schema, response_format, tools, options)
    request = {"stream_options": dict(USAGE_TOO), **request, "stream": True}
    if request["stream_options"] is None:
        del request["stream_options"]
    return AnswerStream(client, request, reader)
