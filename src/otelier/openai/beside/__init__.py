"""Calls that somebody else reports: how they are known, and what ours gives to their spans."""

from __future__ import annotations
