"""Ops that ask the object `otelier.run` of another run: its result, its start, a signal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from otelier.codec import read_json
from otelier.workflows.engines.answers import cancelled, failure
from otelier.workflows.engines.protocol import Json, Outcome, Target
from otelier.workflows.engines.restate._answers import (
    CANCELLED,
    UNSEEN,
    Failed,
    outcome_of,
    refusal,
    to_bytes,
)
from otelier.workflows.engines.restate._names import CALLS, GIVEN_UP_LABEL, RUNS
from otelier.workflows.engines.restate._op import DONE, Owner, RestateOp
from otelier.workflows.engines.restate._ops import milliseconds

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 10.0
"""From when on a run that the server does not see is none: some 13 s."""


class Asking(RestateOp):
    """An op that asks the object `otelier.run` of another run."""

    __slots__ = ("_answer", "_outcome", "ref")

    def __init__(self, run: Owner, number: int, name: str, ref: str) -> None:
        super().__init__(run, number, name)
        self.ref = ref
        self._answer: Mapping[str, Any] | None = None
        self._outcome: Outcome | None = None

    def ask(self, method: str, given: Json) -> None:
        """Ask."""
        self.watch(self.run.pump.ask(RUNS, method, self.ref, to_bytes(given)), self._answered)

    def _answered(self, value: Any) -> None:
        if isinstance(value, Failed):
            self.failed(value)
        else:
            self._answer = read_json(bytes(value).decode())
            assert self._answer is not None
            self.answered(self._answer)
        self.settle()

    def failed(self, failure: Failed) -> None:
        """Take note of why there is no answer."""
        self._outcome = outcome_of(self.ref, failure)[0]

    def answered(self, answer: Mapping[str, Any]) -> None:
        """Go on with an answer."""
        raise NotImplementedError

    def is_complete(self) -> bool:
        """Return whether the outcome is there."""
        return self._outcome is not None

    def finish(self) -> None:
        """Take note of its value and of when it ended."""
        self.value = self._outcome
        if self.ended_ns is None:
            self.ended_ns = self.began_ns


class Result(Asking):
    """An op whose value is the outcome of another run."""

    __slots__ = ("_pause_s", "invocation")
    kind: ClassVar[str] = "result"

    def __init__(self, run: Owner, number: int, run_id: str) -> None:
        super().__init__(run, number, run_id, run_id)
        self.invocation: str | None = None
        self._pause_s = _FIRST_PAUSE_S

    def go(self) -> None:
        """Record when it begins, and find the run."""
        self.mark(time.time_ns())
        self.ask("find", None)

    def answered(self, answer: Mapping[str, Any]) -> None:
        """Wait for the run's end."""
        if "invocation" not in answer:
            self._outcome = failure(refusal(self.ref, answer))
        else:
            self.invocation = answer["invocation"]
            self.attach()

    def attach(self, _: Any = None) -> None:
        """Ask for the end of a run that was found."""
        assert self.invocation is not None
        self.watch(self.run.pump.attach(self.invocation), self._ended)

    def _ended(self, value: Any) -> None:
        if isinstance(value, Failed) and value.code == UNSEEN:
            # The server's partitions hear of a run that was started just now in no order; one that was cancelled before
            # its turn is forgotten there.
            if self._pause_s < _LONGEST_PAUSE_S:
                self.watch(self.run.pump.sleep(milliseconds(self._pause_s)), self.attach)
                self._pause_s *= 2
                return
            self._outcome = cancelled(self.ref)
        else:
            self._outcome, self.ended_ns = outcome_of(self.ref, value)
        self.settle()


class Call(Result):
    """An op that starts a run, and whose value is its outcome."""

    __slots__ = ("_given", "_gives_up", "_is_unknown", "_target", "_waited_s", "is_detached")
    kind: ClassVar[str] = "call"

    def __init__(
        self,
        run: Owner,
        number: int,
        target: Target,
        payload: Json,
        headers: Mapping[str, str],
        run_id: str | None,
        detached: bool,
    ) -> None:
        super().__init__(run, number, run_id or f"{run.id}.{number}")
        self.name = f"{target.service}/{target.handler}"
        self._target = target
        self._given: dict[str, Json] = {
            "target": [target.service, target.handler, target.key], "payload": payload, "headers": dict(headers),
            "parent": run.id, "detached": detached,
        }  # fmt: skip
        self.is_detached = detached
        self._waited_s = 0.0
        self._gives_up = self._is_unknown = False

    def label(self) -> str:
        """Return how the journal names it, with the run that it calls."""
        return f"{super().label()}{CALLS}{self.ref}"

    @property
    def is_stored(self) -> bool:
        """Whether its run is stored, or could not be."""
        return self.invocation is not None or self._outcome is not None

    def go(self) -> None:
        """Record when it begins, and start the run.

        The run begins when the body was told of what it did before: the same time in each life, and that of the span
        that stands for this call.
        """
        self._given["began"] = self.began_ns
        self.mark(time.time_ns())
        self.ask("start", self._given)

    def answered(self, answer: Mapping[str, Any]) -> None:
        """Wait for the run's end; if nobody has its handler, ask again for a while."""
        if "invocation" in answer:
            super().answered(answer)
        elif "handlers" in answer and not self._gives_up and self._waited_s < self.run.unknown_s:
            self._is_unknown = True
            pause = max(min(self._waited_s, 10.0, self.run.unknown_s - self._waited_s), 0.1)
            self._waited_s += pause
            self.watch(self.run.pump.sleep(milliseconds(pause)), self._again)
        else:
            refused = failure(refusal(self.ref, answer, target=self._target))
            self._outcome = cancelled(self.ref) if self._gives_up else refused
            self._note_end()

    def attach(self, _: Any = None) -> None:
        """Ask for the end of its run, and cancel that if it was given up meanwhile."""
        super().attach()
        if self._gives_up:  # a cancel that came before the server saw the run is lost
            self._cancel()

    def failed(self, failure: Failed) -> None:
        """Start a run that goes on without this one, although a cancel took the question with it."""
        if self.is_detached and failure.code == CANCELLED:
            self.ask("start", self._given)
        else:
            super().failed(failure)

    def _again(self, _: Any) -> None:
        self._is_unknown = False
        self.ask("start", self._given)

    def give_up(self) -> None:
        """Cancel its run; it is done when that has ended."""
        if not self._gives_up:
            self._gives_up = True
            if self.invocation is not None:
                self._cancel()
            elif self._is_unknown:
                self._outcome = cancelled(self.ref)
                self._note_end()
                self.settle()

    def _note_end(self) -> None:
        """Let who looks at the run know that no answer of `otelier.run` will end this."""
        self.run.pump.note(f"{self.number}{GIVEN_UP_LABEL}")

    def _cancel(self) -> None:
        assert self.invocation is not None
        self.run.pump.cancel(self.invocation)

    def leave(self) -> None:
        """Ask no more for what it waits for."""
        if self.state == DONE or self._outcome is not None:
            super().leave()


class Send(Asking):
    """An op that sends a signal; its value is the outcome."""

    __slots__ = ("_payload",)
    kind: ClassVar[str] = "send"

    def __init__(self, run: Owner, number: int, run_id: str, name: str, payload: Json) -> None:
        super().__init__(run, number, name, run_id)
        self._payload = payload

    def go(self) -> None:
        """Record when it begins, and send it."""
        self.mark(time.time_ns())
        self.ask("signal", {"name": self.name, "payload": self._payload})

    def answered(self, answer: Mapping[str, Any]) -> None:
        """Take note of how it went."""
        if "at" in answer:
            self._outcome, self.ended_ns = [True, None], answer["at"]
        else:
            self._outcome = failure(refusal(self.ref, answer, signal=self.name))

    def give_up(self) -> None:
        """Do nothing: what is sent is sent."""
