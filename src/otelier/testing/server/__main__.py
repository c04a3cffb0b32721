"""`python -m otelier.testing.server`: the OpenAI-compatible server as a process of its own."""

from __future__ import annotations

import argparse
from pathlib import Path

from otelier.testing._loopback import port_number, run_until_signalled
from otelier.testing.server import OpenAIServer
from otelier.testing.server._refusals import warm_up


def main() -> None:
    """Answer on 127.0.0.1 until SIGTERM or SIGINT; the first line printed is the base URL for a client."""
    parser = argparse.ArgumentParser(prog="python -m otelier.testing.server", description=main.__doc__)
    parser.add_argument("--port", type=port_number, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--delay-s", type=float, nargs="+", default=[0.0], help="seconds before each answer")
    parser.add_argument("--chunk-delay-s", type=float, default=0.0, help="seconds before each event of a stream")
    parser.add_argument("--script", type=Path, help="file of answers, a JSON object a line; see docs/testing.md")
    given = parser.parse_args()
    server = OpenAIServer(port=given.port, delay_s=given.delay_s, chunk_delay_s=given.chunk_delay_s)
    if given.script is not None:
        try:
            server.script(given.script.read_text(encoding="utf-8"), name=str(given.script))
        except (OSError, ValueError) as exc:
            raise SystemExit(str(exc)) from None
    warm_up()
    run_until_signalled(server, "{url}/v1")


if __name__ == "__main__":
    main()
