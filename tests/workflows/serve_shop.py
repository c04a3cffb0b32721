"""A worker with the handlers of `shop`, in a process of its own. Run: PATH."""

from __future__ import annotations

import asyncio
import sys

from otelier.workflows import Worker
from tests.workflows import shop


async def main(path: str) -> None:
    async with Worker("shop", modules=[shop], engine=f"file:{path}") as worker:
        sys.stdout.write("serving\n")
        sys.stdout.flush()
        await worker.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
