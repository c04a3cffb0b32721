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

    One call of this function is one call of `chat.completions.create`, and so one span, however often the client has
    to try. It makes no span of its own.

    Args:
        prompt: A question, or messages as chat completions have them.
        model: The model that is to answer.
        messages: Messages in place of *prompt*, by the name that chat completions have for them.
        schema: What `object` of the answer is to be: a pydantic model class, or a JSON schema. The provider is asked
            for it, and the answer is checked whatever the provider did. `None` asks for text.
        response_format: As chat completions have it, in place of what *schema* would ask for; `object` is what its
            JSON says. With both, this one is sent and *schema* reads the answer.
        tools: Tools that `Tools.register` returned, a registry, functions that `otelier.tool` made tools, or tools as
            chat completions have them. `None` offers none.
        client: A client of the openai package, asynchronous or not, with any `base_url`; one that is not asynchronous
            is used in a thread. `None` is one for each event loop, made as `AsyncOpenAI()` and closed with the loop.
        options: Whatever else `chat.completions.create` takes, such as `temperature`, `tool_choice` or `timeout`.

    Raises:
        AnswerError: if the provider sends no answer, or one that is not what *schema* or *response_format* asks for.
            Below it are `RefusalError` and `UnfinishedAnswerError`. A plain text is returned as it came: its
            `finish_reason` and `refusal` say whether it is whole.
        ClientUseError: if *client* is asynchronous, and was used on another event loop.
        openai.OpenAIError: what the client raises passes unchanged.
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
    """Ask a model, and return its answer as it comes.

    `async for chunk in stream(…)` and `async for chunk in await stream(…)` are the same, but for where an error of the
    call is raised. The whole answer, with tool calls and object, is what `collect` of the stream returns.

    Args:
        prompt: As for `generate`, like all other arguments.
        model: The model that is to answer.
        messages: In place of *prompt*.
        schema: What `object` of the collected answer is to be.
        response_format: As chat completions have it.
        tools: Tools that the model may call.
        client: `None` is one for each event loop.
        options: Whatever else `chat.completions.create` takes. Usage is asked for unless `stream_options` is given, as
            `None` for none; a server that refuses to be asked for it is asked again without.

    Raises:
        TypeError: if an argument has the wrong type. All else is raised by the stream.

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
