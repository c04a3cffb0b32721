"""The services that the page's blocks have in their contexts: a database over SQLite, its users, a session."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class User:
    """One row of the table, which a cache keeps as JSON."""

    id: str
    name: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> User:
        return cls(**json.loads(text))


class Database:
    """Users and their orders, in SQLite."""

    def __init__(self) -> None:
        self.asked = 0
        # A tool that is a plain function runs in a thread of its own.
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)
        self.connection.executescript(
            "create table users (id text primary key, name text); create table orders (id integer, user_id text);"
            "insert into users values ('123', 'Ada'), ('u-1', 'Grace'), ('u-2', 'Edsger');"
            "insert into orders values (1, '123'), (2, '123'), (3, 'u-1');"
        )

    def get_user(self, user_id: str) -> User:
        self.asked += 1
        (row,) = self.connection.execute("select id, name from users where id = ?", [user_id])
        return User(*row)

    def get_orders(self, user_id: str) -> list[int]:
        return [row[0] for row in self.connection.execute("select id from orders where user_id = ?", [user_id])]


class AsyncDatabase(Database):
    """The same, awaited."""

    async def get_user(self, user_id: str) -> User:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().get_user(user_id)


@contextmanager
def opened(kind: type[Database] = Database) -> Iterator[Database]:
    """A database, closed in the end."""
    database = kind()
    try:
        yield database
    finally:
        database.connection.close()
