"""Thread pools beside logfire, which puts a plain function over `submit`."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.beside

ORDERS = (
    "otelier logfire",
    "logfire otelier",
    "import otelier logfire",
    "otelier import logfire otelier",
    "otelier logfire shutdown otelier",
    "logfire otelier shutdown otelier",
    "otelier shutdown logfire otelier",
)


@pytest.mark.parametrize("order", ORDERS)
def test_beside_logfire(run, order):
    """Whoever is imported and switched on first, and again: jobs run as their submitters, inside logfire's spans."""
    run("pools.py", *order.split(), installed=["otelier"], by_hand=True)
