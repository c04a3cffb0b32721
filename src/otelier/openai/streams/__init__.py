"""Answers that their caller reads after the call returned: streams, and bodies that are left to them."""

from __future__ import annotations
