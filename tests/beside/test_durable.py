"""Workflows whose bodies use other instrumented packages, and whose worker is killed."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.workflows.trees import assert_trees

pytestmark = pytest.mark.beside

SQL, HTTP = "opentelemetry.instrumentation.sqlalchemy", "opentelemetry.instrumentation.httpx"


def test_spans_of_sqlalchemy_and_httpx_go_out_once_over_kills(run):
    """Statements and requests of a body and of its steps: once each, below the span of the body or of the step."""
    told = run("durable.py", installed=["otelier", "httpx", "sqlalchemy"], by_hand=True)
    spans = [span for span in told.spans if "otelier.run.id" in span.attributes]
    (tree,) = assert_trees(spans).values()
    names = {span.span_id: span.name for span in tree}
    found = Counter((span.scope.rpartition(".")[2], _what(span), names.get(span.parent_id)) for span in tree)
    assert found == {
        ("workflows", "invoke_workflow parcels", None): 1,
        ("shop", "around", "invoke_workflow parcels"): 1,
        ("sqlalchemy", "create", "around"): 1,
        ("workflows", "run_step insert", "around"): 1,
        ("sqlalchemy", "insert", "run_step insert"): 1,
        ("httpx", "/between", "around"): 1,
        ("workflows", "wait_timer", "around"): 1,
        ("sqlalchemy", "select", "around"): 1,
        ("workflows", "run_step told", "around"): 1,
        ("httpx", "/told", "run_step told"): 1,
        ("httpx", "/after", "around"): 1,
        ("workflows", "run_step select", "around"): 1,
        ("sqlalchemy", "select", "run_step select"): 1,
        ("sqlalchemy", "connect", "around"): found["sqlalchemy", "connect", "around"],
        ("sqlalchemy", "connect", "run_step insert"): found["sqlalchemy", "connect", "run_step insert"],
        ("sqlalchemy", "connect", "run_step select"): found["sqlalchemy", "connect", "run_step select"],
    }
    assert len(spans) == len(tree)  # none twice: each kill came after a record


def _what(span):
    if span.scope == HTTP:
        return "/" + str(span.attributes.get("http.url") or span.attributes["url.full"]).rpartition("/")[2]
    return span.name.split()[0].lower() if span.scope == SQL else span.name
