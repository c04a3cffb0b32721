"""Celery's prefork pool by the command of the page, over a broker of files."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.running.page import command, program
from tests.running.stage import eventually, needs_fork

pytestmark = [pytest.mark.slow, needs_fork()]

USERS = [f"u-{number}" if number % 3 else "" for number in range(20)]
BROKER = """
import pathlib

app.conf.broker_url = "filesystem://"
app.conf.broker_transport_options = {"data_folder_in": "broker", "data_folder_out": "broker"}
"""
SEND = f"""
import otelier
from tasks import answer

with otelier.context(user_id="not-for-the-broker", session_id="s-1"):
    for user in {USERS!r}:
        answer.delay("Hello", user)
"""


def test_celery_prefork(stage, model):
    """Each task continues its sender's trace with its own user or none; nothing of ours is written to the broker."""
    stage.write("tasks.py", program("worker_process_shutdown") + BROKER)
    stage.write("send.py", SEND)
    (stage.folder / "broker").mkdir()
    sent = stage.run("opentelemetry-instrument python send.py", using="celery")
    assert sent.code == 0, sent.err
    messages = [path.read_text() for path in (stage.folder / "broker").iterdir()]
    assert len(messages) == len(USERS)
    assert not any("not-for-the-broker" in message for message in messages)
    with stage.started(command("celery"), using="celery") as worker:
        eventually(lambda: worker.output.count(" succeeded in ") == len(USERS), "all tasks to be done")
    spans = stage.receiver.spans
    expected = Counter(user or None for user in USERS)
    for name in ("run/tasks.answer", "chat gpt-4.1"):
        assert Counter(span.attributes.get("user.id") for span in spans if span.name == name) == expected
    traces = {kind: {span.trace_id for span in spans if span.kind == kind} for kind in ("PRODUCER", "CONSUMER")}
    assert len(traces["PRODUCER"]) == len(USERS)
    assert traces["PRODUCER"] == traces["CONSUMER"]
