"""Jupyter: a notebook run by the command of the page, in a kernel of its own."""

from __future__ import annotations

import json

import pytest

from tests.running.page import command

pytestmark = [pytest.mark.slow]

CELLS = [
    "import otelier\nfrom opentelemetry import trace\n\notelier.init(app='notebook')\n"
    "def span(name):\n    trace.get_tracer('cells').start_span(name).end()",
    "otelier.set_context(user_id='alice')\nspan('same cell')",
    "span('next cell')",
    "import asyncio\nasync def work():\n    span('task')\nawait asyncio.create_task(work())\nspan('after await')",
    "with otelier.context(user_id='bob'):\n    span('block')",
    "otelier.clear_context()\nspan('cleared')",
    "span('after clear')",
    "pass",
]


def test_notebook(stage):
    """x"""
    notebook = {
        "cells": [
            {"cell_type": "code", "id": f"cell-{n}", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
            for n, source in enumerate(CELLS)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    stage.write("notebook.ipynb", json.dumps(notebook))
    ran = stage.run(command("jupyter execute"))
    assert ran.code == 0, ran.err
    print(ran.err, [(span.name, span.attributes.get("user.id")) for span in stage.receiver.spans])
    assert 0
