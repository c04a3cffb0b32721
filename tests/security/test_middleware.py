"""`ContextMiddleware` believes nothing of a request: whatever stands in it sets no field."""

from __future__ import annotations

import asyncio

import pytest

import otelier

SCOPES = {
    "empty": {},
    "headers": {"type": "http", "headers": [(b"user.id", b"mallory"), (b"baggage", b"user.id=mallory"), (7, None)]},
    "names of fields": {"type": "http", "user_id": "mallory", "otelier": {"user_id": "mallory"}, "user": object()},
    "another protocol": {"type": "mallory"},
    "no mapping": ["user.id", "mallory"],
    "nothing": None,
}


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_a_request_sets_no_field_by_itself(scope):
    """The application gets the very request, ASGI's and WSGI's alike, and no field is set where it runs or after it."""
    seen = []

    async def asgi(scope, receive, send):
        seen.append((scope, otelier.get_context()))
        otelier.set_context(user_id="u-1")

    def wsgi(environ, start_response):
        seen.append((environ, otelier.get_context()))
        otelier.set_context(user_id="u-1")
        return []

    asyncio.run(otelier.ContextMiddleware(asgi)(scope, None, None))
    assert otelier.ContextMiddleware(wsgi)(scope, None) == []
    assert [(got is scope, fields) for got, fields in seen] == [(True, otelier.CallContext())] * 2
    assert otelier.get_context() == otelier.CallContext()
