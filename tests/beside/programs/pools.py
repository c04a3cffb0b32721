"""Thread pools with logfire, which patches `submit` by a plain function; the arguments are the acts, in their order."""

import asyncio
import importlib
import sys
from concurrent.futures import ThreadPoolExecutor

import otelier


def configure():
    import logfire

    logfire.configure(send_to_logfire=False, console=False, inspect_arguments=False)


ACTS = {
    "otelier": otelier.init,
    "shutdown": otelier.shutdown,
    "import": lambda: importlib.import_module("logfire"),
    "logfire": configure,
}


def user():
    return otelier.get_context().user_id


def check(expected):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        for number in range(20):
            with otelier.context(user_id=f"u-{number}"):
                assert pool.submit(user).result() == (f"u-{number}" if expected else None)
                assert list(pool.map(lambda _: user(), [1])) == [f"u-{number}" if expected else None]
            if expected:
                pool.submit(otelier.set_context, user_id="left").result()
                assert pool.submit(user).result() is None

    async def main():
        loop = asyncio.get_running_loop()
        await loop.getaddrinfo("localhost", 80)
        with otelier.context(user_id="loop"):
            assert await loop.run_in_executor(None, user) == ("loop" if expected else None)
            assert await asyncio.to_thread(user) == "loop"

    asyncio.run(main())


def check_spans():
    """A span of logfire's in a job is below the one that submitted it, and the job's user is the submitter's."""
    import logfire

    with logfire.span("request"), ThreadPoolExecutor(1) as pool:
        otelier.set_context(user_id="asked")

        def job():
            with logfire.span("job") as span:
                return span.get_span_context().trace_id, dict(span.attributes or {}).get("user.id"), user()

        with logfire.span("below") as below:
            assert pool.submit(job).result() == (below.get_span_context().trace_id, "asked", "asked")


on = False
for act in sys.argv[1:]:
    ACTS[act]()
    on = {"otelier": True, "shutdown": False}.get(act, on)
    check(on)
if on and "logfire" in sys.argv:
    check_spans()
sys.stdout.write('"done"\n')
