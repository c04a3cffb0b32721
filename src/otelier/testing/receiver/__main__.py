"""`python -m otelier.testing.receiver`: an OTLP receiver as a process of its own."""

from __future__ import annotations

import argparse
import json

from otelier.testing._loopback import port_number, run_until_signalled, say
from otelier.testing.receiver import OtlpReceiver


def main() -> None:
    """Receive on 127.0.0.1 until SIGTERM or SIGINT; the first line printed is the URL, the last one the counts."""
    parser = argparse.ArgumentParser(prog="python -m otelier.testing.receiver", description=main.__doc__)
    parser.add_argument("--port", type=port_number, default=4318, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--out", help="file that each record is appended to as one line of JSON")
    given = parser.parse_args()
    receiver = OtlpReceiver(port=given.port, out=given.out)
    run_until_signalled(receiver, "{url}")
    say(json.dumps(receiver.counts))


if __name__ == "__main__":
    main()
