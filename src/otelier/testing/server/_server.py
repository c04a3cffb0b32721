"""The OpenAI server: takes requests, chooses a reply for each, and sends it."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any

from otelier.testing import _loopback
from otelier.testing.server import _answers
from otelier.testing.server._answers import Answer
from otelier.testing.server._replies import BreakMode, Reply, ReplyQueue, When, failure, for_model, script_lines
from otelier.testing.server._requests import OpenAIRequest
from otelier.testing.server._turns import Ids

REMEMBERED = 1000
_SCRIPT = "/script"


class OpenAIServer(_loopback.LoopbackServer):
    """A local server that speaks the OpenAI API over real HTTP, for tests and demonstrations.

    It answers `POST /v1/chat/completions`, `/v1/responses`, `/v1/embeddings`, `/v1/completions`, `/v1/images/…` and
    `/v1/audio/…`, streamed or not, and `GET /v1/responses/{id}`, also under Azure's paths. A recorded request (same
    endpoint, model, last message, tools and stream options) gets the recorded answer unchanged. Any other gets a
    recorded answer adapted to it: its model, a new id, a text that matches the prompt, a call of an offered tool with
    arguments that match its schema, JSON that matches a response format. A background response is complete when it is
    fetched; images have one pixel, and speech is silent. The same requests get the same answers in every run.

    The server rejects what the API rejects, with its message and status 400, even if a reply is waiting: requests that
    do not match the types of the openai client, tool messages that answer no call, values out of range, schemas that
    strict mode does not accept.

    `fail`, `break_stream` and special model names inject faults:

    | model | answer |
    |---|---|
    | `error-400`, `error-401`, `error-429`, `error-500`, … | that status, with the API's own error body |
    | `slow-250` | the usual answer after 250 ms |
    | `html` | an HTML page with status 200, as from a captive portal |
    | `stream-drop` | a stream whose connection breaks after two events |
    | `stream-invalid-json` | a stream whose third event is not JSON |
    | `stream-error` | a stream whose third event is an error |

    Args:
        port: Port on 127.0.0.1; 0 picks a free one.
        delay_s: Seconds before each answer, or several values that are distributed over the requests: a request's delay
            depends on its body and on how often it came, so percentiles are the same in each run.
        chunk_delay_s: Seconds before each event of a stream.
        refuses: Whether it rejects what the API rejects. `False` answers everything, as many compatible servers do.

    Example:
        >>> import openai
        >>> from otelier.testing import OpenAIServer
        >>> with OpenAIServer() as server, openai.OpenAI(base_url=server.base_url, api_key="test") as client:
        ...     answer = client.chat.completions.create(
        ...         model="gpt-4o-mini", messages=[{"role": "user", "content": "Say this is a test"}])
        ...     print(answer.choices[0].message.content, len(server.requests))
        This is a test. 1
    """

    def __init__(
        self, *, port: int = 0, delay_s: float | Sequence[float] = 0.0, chunk_delay_s: float = 0.0, refuses: bool = True
    ) -> None:  # fmt: skip
        super().__init__(port=port)
        self._refuses = refuses
        self._delays_s = (float(delay_s),) if isinstance(delay_s, (int, float)) else tuple(delay_s)
        self._chunk_delay_s = chunk_delay_s
        self._queue = ReplyQueue()
        self._guard = threading.Lock()
        self._requests: deque[OpenAIRequest] = deque(maxlen=REMEMBERED)
        self._seen: OrderedDict[int, int] = OrderedDict()
        self._responses: OrderedDict[str, dict[str, Any]] = OrderedDict()

    @property
    def base_url(self) -> str:
        """Value for an OpenAI client's `base_url`, or for `OPENAI_BASE_URL`."""
        return f"{self.url}/v1"

    @property
    def requests(self) -> tuple[OpenAIRequest, ...]:
        """The last 1,000 requests, oldest first."""
        with self._guard:
            return tuple(self._requests)

    def reply(
        self,
        text: str | None = None,
        *,
        tool_calls: Sequence[tuple[str, Any]] = (),
        usage: Mapping[str, int] | None = None,
        finish_reason: str | None = None,
        model: str | None = None,
        body: Any = None,
        events: Sequence[Any] | None = None,
        headers: Mapping[str, str] | None = None,
        delay_s: float | None = None,
        chunk_delay_s: float | None = None,
        when: When | None = None,
        times: int | None = 1,
    ) -> None:
        """Set the answer for the next matching request; replies are used in the order in which they were added.

        Args:
            text: The answer's text. `None` without `tool_calls` is the usual text.
            tool_calls: Name and arguments of each call. Arguments are JSON values, or text that is sent unchanged.
            usage: `input_tokens`, `output_tokens`, `cached_tokens`, `reasoning_tokens`; missing ones are estimated.
            finish_reason: As in chat completions. `None` is `stop`, or `tool_calls` with tool calls.
            model: Name of the answering model; `None` is the requested one.
            body: The whole answer as JSON or text, for a request that is not streamed.
            events: The whole stream: JSON values, or texts that follow `data: `.
            headers: Additional headers.
            delay_s: Seconds before the answer; `None` uses the server's `delay_s`.
            chunk_delay_s: Seconds before each event of a stream; `None` uses the server's `chunk_delay_s`.
            when: Function that receives an `OpenAIRequest` and returns whether it matches; `None` matches any.
            times: How often the reply is used; `None` is always.

        Raises:
            ValueError: if `usage` has an unknown key, or `times` is below 1.
        """
        given = Reply(
            text=text, tool_calls=tuple(tool_calls), usage=usage, finish_reason=finish_reason, model=model, body=body,
            events=events, headers=dict(headers or {}), delay_s=delay_s, chunk_delay_s=chunk_delay_s,
        )  # fmt: skip
        self._queue.add(given, when, times)

    def fail(
        self,
        status: int = 500,
        *,
        message: str | None = None,
        code: str | None = None,
        html: bool = False,
        headers: Mapping[str, str] | None = None,
        delay_s: float | None = None,
        when: When | None = None,
        times: int | None = 1,
    ) -> None:
        """Answer the next matching request with an error.

        The openai client retries 429 and 5xx, twice by default: with `times=None` the retries fail too.

        Args:
            status: HTTP status.
            message: Message of the error; `None` is the API's own.
            code: Code of the error; `None` is the API's own.
            html: Whether to send an HTML page, as a proxy does, instead of the API's error body.
            headers: Additional headers.
            delay_s: Seconds before the answer; `None` uses the server's `delay_s`.
            when: Function that receives an `OpenAIRequest` and returns whether it matches; `None` matches any.
            times: How often the error is used; `None` is always.
        """
        given = failure(status, message=message, code=code, html=html, headers=headers, delay_s=delay_s)
        self._queue.add(given, when, times)

    def break_stream(
        self,
        mode: BreakMode = "drop",
        *,
        after: int = 2,
        text: str | None = None,
        when: When | None = None,
        times: int | None = 1,
    ) -> None:
        """Break the next matching streamed answer.

        Args:
            mode: `drop` breaks the connection, `invalid_json` sends an event that is not JSON, `error` an error event.
            after: Number of events that are sent before.
            text: Text of the whole answer; `None` is the usual text.
            when: Function that receives an `OpenAIRequest` and returns whether it matches; `None` matches every
                streamed request.
            times: How often it is used; `None` is always.
        """

        def fits(request: OpenAIRequest) -> bool:
            return request.stream and (when is None or when(request))

        self._queue.add(Reply(text=text, break_mode=mode, break_after=after), fits, times)

    def script(self, text: str, *, name: str = "the script") -> None:
        """Add the replies of *text*; a server in a separate process accepts them by `POST /script` and `--script`.

        Each line is a JSON object with the arguments of `reply`, of `fail` (if it has `status`) or of `break_stream`
        (if it has `break`, the mode). `when` is an object: `model`, `path`, `prompt` and `instructions` are
        case-insensitive search patterns; `answers` is the tool whose result is the last message, `null` if that is not
        a tool result.

        Args:
            text: The lines; empty ones are skipped.
            name: Name of the script in error messages.

        Raises:
            ValueError: if a line is invalid; then no line is added.

        Example:
            >>> from otelier.testing import OpenAIServer
            >>> OpenAIServer().script('{"text": "It is in Rome.", "when": {"answers": "find_parcel"}, "times": null}')
        """
        for reply, when, times in script_lines(text, name):
            self._queue.add(reply, when, times)

    def clear(self) -> None:
        """Delete the recorded requests and the unused replies."""
        self._queue.clear()
        with self._guard:
            self._requests.clear()
            self._seen.clear()
            self._responses.clear()

    def answer(self, received: _loopback.HttpRequest, exchange: _loopback.HttpExchange) -> None:
        """Answer one request; runs in the connection's thread."""
        if received.path == _SCRIPT and received.method == "POST":
            self._take_script(received, exchange)
            return
        request, fault = _answers.read(received)
        with self._guard:
            self._requests.append(request)
        key, turn_number = self._count(received)
        delay_s = self._delays_s[(key + turn_number) % len(self._delays_s)]
        try:
            refusal = _answers.refused(request) if self._refuses else None
            reply = fault or refusal or self._queue.take(request) or for_model(request.model)
            answer = _answers.answer(request, reply, Ids(f"{key}/{turn_number}"), self._stored(request.path))
        except Exception as exc:  # of the test's own `when`, or of a body no client would send
            _loopback.log.exception("%s cannot answer %s %s", type(self).__name__, request.method, request.path)
            reply = failure(500, message=f"OpenAIServer cannot answer: {type(exc).__name__}: {exc}")
            answer = _answers.answer(request, reply, Ids(f"{key}"), None)
        self._remember(answer)
        given = reply or Reply()
        delay_s = delay_s if given.delay_s is None else given.delay_s
        chunk_delay_s = self._chunk_delay_s if given.chunk_delay_s is None else given.chunk_delay_s
        self._stopping.wait(delay_s)
        took = {"openai-processing-ms": f"{delay_s * 1000:.0f}"} if delay_s else {}
        self._send(exchange, answer, took, chunk_delay_s)

    def _take_script(self, received: _loopback.HttpRequest, exchange: _loopback.HttpExchange) -> None:
        """Let a script from outside take the place of what still waits."""
        try:
            lines = script_lines(received.body.decode(), "the script")
        except ValueError as exc:
            exchange.send(400, {"content-type": "text/plain; charset=utf-8"}, f"{exc}\n".encode())
            return
        self._queue.clear()
        for reply, when, times in lines:
            self._queue.add(reply, when, times)
        exchange.send(204, {}, b"")

    def _send(
        self, exchange: _loopback.HttpExchange, answer: Answer, took: Mapping[str, str], chunk_delay_s: float
    ) -> None:
        headers = {**answer.headers, **took}
        if answer.frames is None:
            exchange.send(answer.status, headers, answer.body)
            return
        exchange.start_stream(headers)
        for frame in answer.frames:
            self._stopping.wait(chunk_delay_s)
            exchange.send_chunk(frame)
        if answer.drops:
            exchange.drop()
        exchange.send_chunk(b"")

    def _count(self, received: _loopback.HttpRequest) -> tuple[int, int]:
        """Return a number for what was asked, and how often that came before."""
        key = zlib.crc32(received.path.encode() + received.body)
        with self._guard:
            number = self._seen.pop(key, 0)
            self._seen[key] = number + 1
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return key, number

    def _remember(self, answer: Answer) -> None:
        if answer.stored is not None:
            with self._guard:
                self._responses[answer.stored["id"]] = answer.stored
                if len(self._responses) > REMEMBERED:
                    self._responses.popitem(last=False)

    def _stored(self, path: str) -> dict[str, Any] | None:
        with self._guard:
            return self._responses.get(path.rpartition("/")[2])
