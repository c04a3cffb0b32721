"""The pytest plugin: fixtures come with the span recorder."""

from __future__ import annotations
