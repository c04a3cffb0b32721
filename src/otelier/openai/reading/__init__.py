"""Requests and answers, read as span attributes whatever they turn out to be; content is left out."""

from __future__ import annotations
