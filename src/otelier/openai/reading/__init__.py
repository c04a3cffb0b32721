"""What requests and answers say, read as attributes whatever they turn out to be; content is not among it."""

from __future__ import annotations
