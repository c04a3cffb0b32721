from __future__ import annotations

import os

import flask
from places import POOL, around, visit

import otelier

app = flask.Flask("places")


@app.before_request
def hook() -> None:
    if flask.request.view_args:
        visit("hook", **flask.request.view_args)


@app.get("/who")
def who() -> str:
    return str(os.getpid())


def body(where, user):
    yield b"o"
    visit("stream", where, user)
    yield b"k"


@app.get("/plain/<where>/<user>")
def plain(where, user):
    visit("handler", where, user)
    POOL.submit(visit, "background", where, user)
    return flask.Response(body(where, user))


@app.get("/bound/<where>/<user>")
def bound(where, user):
    visit("handler", where, user)
    POOL.submit(visit, "background", where, user)
    return flask.Response(otelier.propagate(body)(where, user))


app.wsgi_app = around(app.wsgi_app)
