"""Servers as processes of their own: scripted from outside, and one line for what cannot be."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import httpx
import openai
import pytest

import otelier
from otelier.testing import OpenAIServer

PARCELS = "\n".join(
    json.dumps(line)
    for line in (
        {"tool_calls": [["find_parcel", {"id": 7}]], "when": {"prompt": "where IS", "answers": None}, "times": None},
        {"tool_calls": [["find_price", {"to": "Rome"}]], "when": {"answers": "find_parcel"}, "times": None},
        {"text": "It is in Rome; 8 EUR.", "when": {"answers": "find_price"}, "times": None},
        {"status": 429, "message": "Come back later.", "when": {"prompt": "hurry"}},
        {"break": "error", "after": 3, "when": {"model": "gpt-4.1-mini"}},
    )
)


@pytest.fixture
def server():
    with OpenAIServer() as running:
        yield running


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0) as made:
        yield made


@otelier.tool
def find_parcel(id: int) -> str:
    """Say where a parcel is."""
    return f"parcel {id} is in Rome"


@otelier.tool
def find_price(to: str) -> str:
    """Say what sending costs."""
    return f"8 EUR to {to}"


def post(server, script):
    return httpx.post(f"{server.url}/script", content=script)


def ask(client, text, **options):
    return client.chat.completions.create(
        **{"model": "gpt-4.1", "messages": [{"role": "user", "content": text}], **options}
    )


def test_a_service_with_several_tools(server, client):
    """A script over HTTP leads an agent through its tools, as often as it is asked, in chat completions."""
    assert post(server, PARCELS).status_code == 204
    agent = otelier.Agent("parcels", "gpt-4.1", client=client, tools=[find_parcel, find_price])
    for _ in range(2):
        assert agent.run("Where is my parcel?").output == "It is in Rome; 8 EUR."


def test_a_script_over_responses(server, client):
    """The same script answers Responses."""
    server.script(PARCELS)
    tools = [{"type": "function", "name": "find_parcel", "parameters": {"type": "object"}, "strict": False}]
    first = client.responses.create(model="gpt-4.1", input="Where is it?", tools=tools)
    assert [(call.name, json.loads(call.arguments)) for call in first.output] == [("find_parcel", {"id": 7})]
    call = first.output[0]
    told = [
        {"role": "user", "content": "Where is it?"},
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "in Rome"},
    ]
    second = client.responses.create(model="gpt-4.1", input=told, tools=tools)
    assert second.output[0].name == "find_price"


def test_faults_in_a_script(server, client):
    """Errors and streams that break come by script, each once unless it says otherwise."""
    server.script(PARCELS)
    with pytest.raises(openai.RateLimitError, match="Come back later"):
        ask(client, "Hurry up!")
    assert ask(client, "Hurry up!").choices[0].message.content
    with pytest.raises(openai.APIError):
        list(ask(client, "Hello", model="gpt-4.1-mini", stream=True))
    assert list(ask(client, "Hello", model="gpt-4.1-mini", stream=True))


def test_a_new_script_takes_the_place_of_the_old(server, client):
    """What waited of an older script is gone; an empty one leaves nothing."""
    post(server, '{"text": "old", "times": null}')
    post(server, '{"text": "new"}\n\n')
    assert ask(client, "Hello").choices[0].message.content == "new"
    assert ask(client, "Hello").choices[0].message.content != "old"
    post(server, '{"text": "old", "times": null}')
    post(server, "")
    assert ask(client, "Hello").choices[0].message.content != "old"
    assert all(request.path != "/script" for request in server.requests)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2 of the script"),
        ("[]", "it must be a JSON object"),
        ('{"txt": "Hello"}', "it has 'txt', which means nothing. Use text, tool_calls,"),
        ('{"text": "Hello", "when": {"who": "alice"}}', "`when` has 'who'"),
        ('{"text": "Hello", "when": "alice"}', "`when` must be an object"),
        ('{"text": "Hello", "when": {"prompt": "("}}', "line 2 of the script"),
        ('{"text": "Hello", "times": 0}', "`times` must be 1 or more"),
        ('{"tool_calls": ["search"]}', "a name and its arguments"),
        ('{"break": "loudly"}', "`break` must be one of drop, invalid_json, error"),
        ('{"usage": {"tokens": 1}}', "usage"),
        ('{"status": 500, "text": "Hello"}', "it has 'text'"),
    ],
)
def test_a_line_that_cannot_be_used(server, client, line, told):
    """A script with a line that means nothing is refused by the line's number, and nothing of it is used."""
    answer = post(server, f'{{"text": "first"}}\n{line}')
    assert answer.status_code == 400
    assert told in answer.text
    assert ask(client, "Hello").choices[0].message.content != "first"
    with pytest.raises(ValueError, match="line 1 of the script"):
        server.script(line)


def run(module, *arguments):
    command = [sys.executable, "-m", f"otelier.testing.{module}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("module", ["server", "receiver"])
def test_a_port_that_is_used_is_one_line(module):
    """A port that another process listens on ends the command with one line that says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = run(module, "--port", port)
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (1, "", 1)
    assert port in ran.stderr
    assert "--port" in ran.stderr


@pytest.mark.parametrize("module", ["server", "receiver"])
@pytest.mark.parametrize("port", ["99999", "http", "-1"])
def test_a_port_that_is_none_is_one_line(module, port):
    """So does what is no port."""
    ran = run(module, f"--port={port}")
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (1, "", 1)
    assert port in ran.stderr
    assert "65535" in ran.stderr


@pytest.mark.parametrize("text", [None, '{"txt": 1}'])
def test_a_script_that_cannot_be_used_is_one_line(tmp_path, text):
    """A script that is not there or has a mistake ends the command with one line, too."""
    script = tmp_path / "parcels.jsonl"
    if text is not None:
        script.write_text(text)
    ran = run("server", "--port", "0", "--script", str(script))
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (1, "", 1)
    assert "parcels.jsonl" in ran.stderr


def test_a_process_answers_by_its_script(tmp_path):
    """`--script` is what the process answers from its first request on."""
    script = tmp_path / "parcels.jsonl"
    script.write_text('{"text": "scripted"}\n')
    command = [sys.executable, "-m", "otelier.testing.server", "--port", "0", "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            with openai.OpenAI(base_url=url, api_key="test") as client:
                assert ask(client, "Hello").choices[0].message.content == "scripted"
        finally:
            process.terminate()
            process.communicate(timeout=300)
