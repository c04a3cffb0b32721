"""egisai, multi-agent context: threading and asyncio, the three sentences of the page as code."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import openai

import otelier

otelier.init(app="orchestrator", env="production")
client = openai.OpenAI()
async_client = openai.AsyncOpenAI()


def call(label):
    client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": label}], user=label)


async def async_call(label):
    await async_client.chat.completions.create(
        model="gpt-4.1", messages=[{"role": "user", "content": label}], user=label
    )


async def asyncio_tasks():
    """Tasks created from a context inherit the values."""
    otelier.set_context(user_id="u-task", agent="planner")
    await asyncio.gather(async_call("task 1"), async_call("task 2"))


def pool_threads():
    """Threads of a `ThreadPoolExecutor` inherit the values from the spawning thread."""
    otelier.set_context(user_id="u-pool", agent="planner")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(call, ["pool 1", "pool 2"]))


def top_level_thread():
    """A new top-level thread starts with the process-level defaults from `init`."""
    otelier.set_context(user_id="u-caller", agent="planner")
    thread = threading.Thread(target=call, args=("thread",))
    thread.start()
    thread.join()


def thread_that_sets_again():
    """If you need request-level context in that thread, set it at the top of its target."""

    def target():
        otelier.set_context(user_id="u-thread", agent="worker")
        call("thread that sets")

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
