"""The programs of `docs/agents.md` that show agent frameworks, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.beside.test_frameworks import is_call

pytestmark = pytest.mark.beside

PAGE = Path(__file__).parent.parent.parent / "docs" / "agents.md"
PROGRAMS = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("framework", "scope"), [("pydantic_ai", "pydantic-ai"), ("agents", "otelier.openai")])
def test_programs_of_the_page(run, tmp_path, framework, scope):
    """They run, and their calls and everything else have the user and the session."""
    (text,) = (one for one in PROGRAMS if f"from {framework} import" in one)
    (tmp_path / "program.py").write_text(text + "\nprint('\"done\"')\n", encoding="utf-8")
    # The SDK's tracing would send to OpenAI.
    told = run(str(tmp_path / "program.py"), installed=["otelier"], OPENAI_AGENTS_DISABLE_TRACING="1")
    assert [span.scope for span in told.spans if is_call(span.attributes)] == [scope, scope]
    assert {span.attributes["user.id"] for span in told.spans} == {"alice"}
    assert {span.attributes["session.id"] for span in told.spans} == {"s-1"}
