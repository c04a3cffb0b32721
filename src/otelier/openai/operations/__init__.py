"""The operations that are instrumented: what to read where, whole or in chunks."""

from __future__ import annotations
