"""The worker's side of Restate: an HTTP/2 server that answers the paths of its version and of lower ones.

The objects that all workers share have paths of their own, which are answered until it listens no more.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

import hypercorn.asyncio as hypercorn_asyncio
import restate.server as restate_server
from hypercorn.config import Config
from restate import Service, VirtualObject
from restate.endpoint import Endpoint
from restate.server_types import ReceiveChannel, binary_to_header
from restate.vm import VMWrapper

from otelier.errors import EngineError
from otelier.workflows.engines.protocol import APPROVALS
from otelier.workflows.engines.restate._address import WorkerAddress
from otelier.workflows.engines.restate._names import SHARED, SHARED_VERSION, is_shared
from otelier.workflows.engines.restate._offers import Offer
from otelier.workflows.engines.restate._options import Options
from otelier.workflows.engines.restate._service import VERSION, Bodies

_SDK: Final[Any] = restate_server  # its functions are not all typed
_HYPERCORN: Final[Any] = hypercorn_asyncio
_PATH: Final = re.compile(rf"({re.escape(SHARED)})?/v(\d{{1,9}})/(?:(health|discover)|invoke/([^/]+)/([^/]+))$")
_CONNECTION_S: Final = 3600
_LEAVE_S: Final = 5.0
_CLOSE_S: Final = 1.0
"""How long connections are given to close when all bodies are left."""


class Listener:
    """Listens where the server is to ask, and runs bodies."""

    def __init__(
        self,
        where: WorkerAddress,
        version: int,
        bodies: Bodies,
        services: dict[str, Service | VirtualObject],
        options: Options,
    ) -> None:
        self._bodies, self._services, self._options = bodies, services, options
        try:
            self._verifier: Any = _SDK.PyIdentityVerifier(list(where.identity_keys))
        except Exception as exc:
            raise EngineError(
                f"Cannot verify the server's requests: {exc}. Each key of OTELIER_RESTATE_IDENTITY_KEY is one that the "
                "server prints when it starts with a `request-identity-private-key-pem-file`: `publickeyv1_...`."
            ) from exc
        self._socket = _listen(where, is_shared=options.is_port_shared)
        port = self._socket.getsockname()[1]
        host = f"[{where.host}]" if ":" in where.host else where.host
        url = where.url or f"http://{host}:{port}"
        shared = frozenset(filter(is_shared, services))
        own = frozenset(services) - shared
        self.own = Offer(f"{url}/v{version}", version, own, is_shared=False, shown=own)
        """Its own services, as the server is told."""
        self.shared = Offer(f"{url}{SHARED}/v{SHARED_VERSION}", SHARED_VERSION, shared, is_shared=True, shown=shared)
        """What it has like all others."""
        self._over = asyncio.Event()
        self._asked = 0
        """Invocations of what is shared that go on."""
        self._is_leaving = False
        self._serving: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Answer from now on."""
        config = Config()
        config.bind = [f"fd://{self._socket.detach()}"]
        config.errorlog = config.accesslog = None
        config.h2_max_concurrent_streams = 2**31 - 1
        config.keep_alive_timeout = _CONNECTION_S
        config.keep_alive_max_requests = 2**31 - 1  # else it cuts what goes on beside the thousandth
        config.graceful_timeout = _CLOSE_S
        serving = _HYPERCORN.serve(self._answer, config, mode="asgi", shutdown_trigger=self._over.wait)
        self._serving = task = asyncio.ensure_future(serving)
        task.add_done_callback(_taken)

    async def until_over(self) -> None:
        """Wait until it does not listen any more, which is a fault."""
        assert self._serving is not None
        await asyncio.wait((self._serving,))
        self._serving.result()

    async def stop(self, hand_over: Callable[[], Awaitable[object]]) -> None:
        """Begin no body, let steps end and be recorded, leave all bodies, and listen no more.

        What is shared is answered until *hand_over* has found another worker for it, and all bodies are left.
        """
        bodies = self._bodies
        bodies.is_draining = True
        own = [run for run in bodies.live if run.target.service != APPROVALS]
        for run in own:
            run.drain()
        try:
            await hand_over()
            await self._left(self._options.stop_s, lambda: not bodies.live.isdisjoint(own))
        except asyncio.CancelledError:  # once more: no more time is given, but no body may go on without its listener
            pass
        self._is_leaving = True
        for run in list(bodies.live):
            run.park()
        await self._left(_LEAVE_S, lambda: bool(bodies.live or self._asked))
        if self._serving is None:
            self._socket.close()
            return
        self._over.set()
        with _without_cancels():
            for _ in range(3):
                done, _ = await asyncio.wait((self._serving,), timeout=_LEAVE_S)
                if done:
                    break
                self._serving.cancel()

    async def _left(self, seconds: float, goes_on: Callable[[], bool]) -> None:
        ends = asyncio.get_running_loop().time() + seconds
        while goes_on() and asyncio.get_running_loop().time() < ends:  # noqa: ASYNC110 -- it ends, too
            await asyncio.sleep(0.005)

    # --- requests of the server ---
    async def _answer(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        found = _PATH.search(scope["path"])
        offer = self.own if found is None or found[1] is None else self.shared
        if scope["type"] != "http" or found is None or not 1 <= int(found[2]) <= offer.version:
            await _SDK.send_status(send, receive, 404)
        elif found[3] == "health":
            await _SDK.send_health_check(send)
        elif not self._is_known(scope):
            await _SDK.send_status(send, receive, 401)
        elif found[3] == "discover":
            endpoint = Endpoint().bind(*(self._services[name] for name in sorted(offer.shown)))
            await _SDK.send_discovery(scope, send, endpoint)
        elif self._is_leaving or (self._bodies.is_draining and not offer.is_shared):
            await _SDK.send_status(send, receive, 503)
        else:
            VERSION.set(int(found[2]))
            service = self._services.get(found[4]) if found[4] in offer.names else None
            self._asked += offer.is_shared
            try:
                await self._invoke(service, found[5], scope, receive, send)
            finally:
                self._asked -= offer.is_shared

    def _is_known(self, scope: Any) -> bool:
        try:
            self._verifier.verify(binary_to_header(scope["headers"]), scope["path"])
        except _SDK.IdentityVerificationException:
            return False
        return True

    async def _invoke(self, service: Any, handler: str, scope: Any, receive: Any, send: Any) -> None:
        found = None if service is None else service.handlers.get(handler)
        if found is None:
            await _SDK.send_status(send, receive, 404)
            return
        headers = binary_to_header(scope["headers"])
        channel = ReceiveChannel(receive)
        try:
            await _SDK.process_invocation_to_completion(VMWrapper(headers), found, dict(headers), channel, send)
        finally:
            await channel.close()


@contextmanager
def _without_cancels() -> Generator[None]:
    """Let the loop not log as an error that connections which stay open, such as a balancer's, are cancelled.

    Before Python 3.12 `asyncio.start_server` asks their tasks for what they raised, and so raises that itself.
    """
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), asyncio.CancelledError):
            return
        if before is None:
            loop.default_exception_handler(context)
        else:
            before(loop, context)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(before)


def _taken(serving: asyncio.Task[None]) -> None:
    """Take note of how it ended, of which `until_over` tells: cut in its own end, hypercorn fails by a slip of it."""
    if not serving.cancelled():
        serving.exception()


async def _lifespan(receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return


def _listen(where: WorkerAddress, *, is_shared: bool) -> socket.socket:
    listening = None
    try:
        family, kind, _, _, address = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(address)
        listening.listen(512)
        listening.setblocking(False)
    except OSError as exc:
        if listening is not None:
            listening.close()
        raise EngineError(
            f"Cannot listen at {where.host}:{where.port} for Restate's server: {exc.strerror or exc}. Set "
            "OTELIER_WORKER_BIND to another HOST:PORT, or stop what listens there."
        ) from exc
    return listening
