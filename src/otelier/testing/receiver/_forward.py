"""Passing what was received on to another OTLP/HTTP endpoint, in a thread of its own."""

from __future__ import annotations

import http.client
import queue
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from otelier.testing._loopback import log

WAITING = 1000
TIMEOUT_S = 10.0


class Forwarder:
    """Posts each body, unchanged and in its order, to the endpoint's `/v1/traces`, `/v1/metrics` and `/v1/logs`."""

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        where = urlsplit(endpoint)
        if where.scheme not in ("http", "https") or not where.hostname:
            raise ValueError(
                f"Cannot forward to {endpoint!r}: it is no HTTP address. Give one such as `http://127.0.0.1:4318`."
            )
        # The standard library's own client, so that no HTTP instrumentation makes spans of this.
        self._connect = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._path = where.hostname, where.port, where.path.rstrip("/")
        self._headers = dict(headers)
        self._waiting: queue.Queue[tuple[str, bytes, Mapping[str, str]] | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="OtlpReceiver forward", daemon=True)
        self.failures = 0
        """Bodies that did not arrive."""

    def start(self) -> None:
        """Start passing on."""
        self._thread.start()

    def stop(self, timeout_s: float = TIMEOUT_S) -> None:
        """Pass on what still waits, for *timeout_s* seconds at most."""
        try:
            self._waiting.put(None, timeout=timeout_s)
        except queue.Full:
            self._failed("it takes too long")
        self._thread.join(timeout_s)

    def put(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Pass *body* on soon; never waits."""
        try:
            self._waiting.put_nowait((path, body, headers))
        except queue.Full:
            self._failed("too much waits")

    def _run(self) -> None:
        while (one := self._waiting.get()) is not None:
            try:
                self._post(*one)
            except (OSError, http.client.HTTPException) as exc:
                self._failed(f"{type(exc).__name__}: {exc}")

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        connection = self._connect(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", self._path + path, body, {**headers, **self._headers})
            answer = connection.getresponse()
            answer.read()
            if answer.status >= 300:
                self._failed(f"it answered {answer.status} {answer.reason}")
        finally:
            connection.close()

    def _failed(self, why: str) -> None:
        self.failures += 1
        if self.failures == 1:
            log.warning("Cannot forward to %s:%s: %s. More failures are only counted.", self._host, self._port, why)
