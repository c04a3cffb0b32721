"""The real backends as fixtures: Collector, Jaeger and Prometheus from `make backends`, on free loopback ports.

They run with the files of `collector-config/`, moved only by the variables that those files name.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.backends.clients import Collector, Jaeger, Prometheus
from tests.backends.programs import CONFIG, answers, environment, eventually, program, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.backends)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Each call gives another port on 127.0.0.1 that nobody listens on."""
    given: set[int] = set()

    def take() -> int:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            if port not in given:
                given.add(port)
                return port

    return take


@pytest.fixture(scope="session")
def jaeger(free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    addresses = {
        name: f"127.0.0.1:{free_port()}"
        for name in ("JAEGER_QUERY_HTTP", "JAEGER_QUERY_GRPC", "JAEGER_OTLP_GRPC", "JAEGER_OTLP_HTTP")
    }
    started = Jaeger(
        query=f"http://{addresses['JAEGER_QUERY_HTTP']}",
        otlp_grpc=addresses["JAEGER_OTLP_GRPC"],
        otlp_http=f"http://{addresses['JAEGER_OTLP_HTTP']}",
    )
    command = [program("jaeger"), f"--config={CONFIG / 'jaeger.yaml'}"]
    folder = tmp_path_factory.mktemp("jaeger")
    # It takes ten seconds to stop, and keeps nothing.
    with running(command, folder=folder, env=environment(**addresses), name="jaeger", patience_s=1.0):
        eventually(answers(f"{started.query}/api/services"), "the start of Jaeger")
        yield started


@pytest.fixture(scope="session")
def collector(
    jaeger: Jaeger, free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Collector]:
    folder = tmp_path_factory.mktemp("collector")
    own_port = free_port()
    addresses = {
        name: f"127.0.0.1:{free_port()}"
        for name in ("COLLECTOR_OTLP_GRPC", "COLLECTOR_OTLP_HTTP", "COLLECTOR_PROMETHEUS", "COLLECTOR_HEALTH")
    }
    started = Collector(
        otlp_http=f"http://{addresses['COLLECTOR_OTLP_HTTP']}",
        scrape_target=addresses["COLLECTOR_PROMETHEUS"],
        own_target=f"127.0.0.1:{own_port}",
        file=folder / "telemetry" / "telemetry.jsonl",  # where collector.yaml puts it
    )
    env = environment(**addresses, COLLECTOR_JAEGER=jaeger.otlp_grpc, COLLECTOR_OWN_METRICS_PORT=str(own_port))
    command = [program("otelcol"), f"--config={CONFIG / 'collector.yaml'}"]
    with running(command, folder=folder, env=env, name="otelcol"):
        eventually(answers(f"http://{addresses['COLLECTOR_HEALTH']}"), "the start of the Collector")
        yield started


@pytest.fixture(scope="session")
def prometheus(
    collector: Collector, free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    text = (CONFIG / "prometheus.yaml").read_text()
    for told, target in (("127.0.0.1:8889", collector.scrape_target), ("127.0.0.1:8888", collector.own_target)):
        assert told in text
        text = text.replace(told, target)
    config = yaml.safe_load(text)
    config["global"]["scrape_interval"] = "1s"
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus"),
        "--config.file=prometheus.yaml",
        "--storage.tsdb.path=data",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
    ]
    with running(command, folder=folder, env=environment(), name="prometheus"):
        eventually(answers(f"http://{address}/-/ready"), "the start of Prometheus")
        yield Prometheus(url=f"http://{address}")
