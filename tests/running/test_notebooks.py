"""Jupyter: a notebook run by the command of the page, in a kernel of its own."""

from __future__ import annotations

import json

import pytest

from tests.running.page import command

pytestmark = pytest.mark.slow

CELLS = [
    """
import asyncio
import otelier
from opentelemetry import trace

otelier.init(app="notebook")


def span(name):
    trace.get_tracer("cells").start_span(name).end()
""",
    "otelier.set_context(user_id='alice')\nspan('same cell')",
    "span('next cell')",
    "async def work():\n    span('task')\n\nawait asyncio.create_task(work())\nspan('after await')",
    "with otelier.context(user_id='bob'):\n    span('block')",
    "span('after block')",
    "otelier.clear_context()\nspan('cleared')",
    "span('after clear')",
]
NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(CELLS)
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def test_notebook(stage):
    """What a cell sets holds for the cells after it until it is cleared, and everything arrives at the shutdown."""
    stage.write("notebook.ipynb", json.dumps(NOTEBOOK))
    ran = stage.run(command("jupyter execute"))
    assert ran.code == 0, ran.err
    assert {span.name: span.attributes.get("user.id") for span in stage.receiver.spans} == {
        "same cell": "alice",
        "next cell": "alice",
        "task": "alice",
        "after await": "alice",
        "block": "bob",
        "after block": "alice",
        "cleared": None,
        "after clear": None,
    }
