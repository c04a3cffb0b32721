"""`python -m otelier.testing.server`: the OpenAI-compatible server as a process of its own."""

from __future__ import annotations

import argparse

from otelier.testing._loopback import run_until_signalled
from otelier.testing.server import OpenAIServer


def main() -> None:
    """Answer on 127.0.0.1 until SIGTERM or SIGINT; the first line printed is the base URL for a client."""
    parser = argparse.ArgumentParser(prog="python -m otelier.testing.server", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--delay-s", type=float, nargs="+", default=[0.0], help="seconds before each answer")
    parser.add_argument("--chunk-delay-s", type=float, default=0.0, help="seconds before each event of a stream")
    given = parser.parse_args()
    run_until_signalled(
        OpenAIServer(port=given.port, delay_s=given.delay_s, chunk_delay_s=given.chunk_delay_s), "{url}/v1"
    )


if __name__ == "__main__":
    main()
