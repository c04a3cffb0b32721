"""What tests of an instrumented program need: a span recorder, a pytest plugin and local servers."""

from __future__ import annotations
