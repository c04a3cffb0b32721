"""Execution of a run: its context, its lineage, its span, and the progress that an error carries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Final, Protocol, cast

from opentelemetry.context import Context, get_current
from opentelemetry.trace import SpanContext
from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.agents._context import RunContext, child_of
from otelier.agents._conversation import Conversation, Task
from otelier.agents._exported import exported_attributes, fields_of
from otelier.agents._loop import LIVE, run_loop
from otelier.agents._results import AgentEvent, AgentResult, RunFinished
from otelier.agents._run import RUN, AgentSpec, Run, Steps, current_run
from otelier.agents._telemetry import RunPoint, agent_span, run_content
from otelier.errors import AgentLimitError, RunParked
from otelier.faults import report_fault
from otelier.fields import with_fields
from otelier.identity import AgentIdentity, fingerprint_of, process, register, resolve
from otelier.redaction import content_gate, redact
from otelier.telemetry import OperationSpan, fit_text, live

_CARRIED: Final = "_otelier_carried"
"""Attribute of an error that names those of its attributes that a run put there."""


class Recording(Steps, Protocol):
    """Steps that are recorded, so that a run can begin again after a crash and find what is known."""

    run_class: ClassVar[type[Run]]
    span_context: SpanContext
    """Ids of the run's span, the same each time."""

    def now_ns(self) -> int:
        """Return the time of what was recorded last, in nanoseconds since the epoch: the same each time."""
        ...

    def is_replaying(self) -> bool:
        """Tell whether all that happens here happened before."""
        ...


async def execute(
    spec: AgentSpec,
    task: Task,
    context: RunContext | None,
    on_event: Callable[[AgentEvent], None] | None,
    recording: Recording | None = None,
) -> AgentResult[Any]:
    """Run the agent of *spec* on *task* in the current context, and return its result; *recording* records its steps.

    Raises:
        AgentLimitError: if the run is delegated too deep, or takes too many steps.
        AnswerError: if the provider sends no answer, or the output is not of the promised type.
        ClientUseError: if the client belongs to another event loop.
        Exception: what the client or an interceptor raises, unchanged.
    """
    run = _begin(spec, task, context, on_event, recording)
    point = RunPoint(spec.name, spec.model_attribute)
    attributes = {**spec.attributes, **_prompt_attributes(spec.instructions, run.identity)}
    name, inside = f"{names.INVOKE_AGENT} {spec.name}", _context_inside(run)
    if recording is None:
        opened = agent_span(name, attributes, inside, point, run.gate)
    else:
        # Also in a replay: whether it goes out is known when it ends.
        forced = {"start_time_ns": recording.now_ns(), "span_context": recording.span_context}
        opened = agent_span(name, attributes, live(inside), point, run.gate, **forced)
        opened.base = inside
    with opened:
        output = None
        try:
            if run.depth > spec.limits.max_depth:
                raise AgentLimitError(
                    f"Agent {spec.name!r} would run at depth {run.depth}: agents delegate to each other without end, "
                    f"or `max_depth={spec.limits.max_depth}` is too low.",
                    limit="max_depth",
                )
            output = await run_loop(run)
        except Exception as exc:
            _carry_progress(exc, run)
            raise
        except RunParked:
            opened.withheld = True  # it goes on in another life, which ends this span
            raise
        finally:
            run.is_over = True
            if recording is not None:
                opened.end_time_ns = recording.now_ns()
                opened.withheld = opened.withheld or recording.is_replaying()
            point.inference_calls, point.tool_calls = run.model_calls, run.executed_tools
            _write_end(run, opened, output)
    result: AgentResult[Any] = AgentResult(
        output=output,
        messages=run.messages,
        usage=run.usage,
        tool_calls=run.tool_calls,
        finish_reason=run.finish_reason,
        context=run.context,
    )
    run.emit(RunFinished, result=result)
    return result


def _begin(
    spec: AgentSpec,
    task: Task,
    context: RunContext | None,
    on_event: Callable[[AgentEvent], None] | None,
    recording: Recording | None,
) -> Run:
    loop = asyncio.get_running_loop()
    parent = current_run()
    identity = cast("AgentIdentity", resolve(spec.name, None, named_with_id=False))
    context_given = context is not None
    context = RunContext() if context is None else context
    return (Run if recording is None else recording.run_class)(
        spec=spec,
        steps=recording or LIVE,
        task=task,
        identity=identity,
        context=child_of(context, {"query": context.query or task.text}, identity),
        context_given=context_given,
        parent=parent,
        depth=0 if parent is None else parent.depth + 1,
        loop=loop,
        gate=content_gate(),
        on_event=on_event or (parent.on_event if parent is not None and parent.loop is loop else None),
        conversation=Conversation(task.messages(spec.instructions)),
        limiter=asyncio.Semaphore(spec.limits.max_parallel_tools),
        model=spec.model,
        tools=dict(spec.tools),
        settings={**spec.settings, **task.settings},
    )


def _context_inside(run: Run) -> Context:
    """Return the context that the run works in: its user, its agent, its lineage, and its exported fields."""
    notes: dict[str, AttributeValue] = {**exported_attributes(run.context), names.AGENT_DEPTH: run.depth}
    if run.parent is not None:
        parent = run.parent.identity
        notes[names.AGENT_PARENT_NAME] = parent.name
        notes[names.AGENT_PARENT_ID] = parent.id
    # The id is that of the agent around it: a name never stands beside another's.
    inside = with_fields(get_current(), notes=notes, agent=run.identity.name, agent_id="", **fields_of(run.context))
    return Context({**inside, RUN: run})


def _prompt_attributes(instructions: str | None, identity: AgentIdentity) -> dict[str, AttributeValue]:
    """Return the fingerprint of an agent's prompt as its span has it, and register the agent with it."""
    try:
        fingerprint = fingerprint_of(instructions) if instructions and process() is not None else None
        if fingerprint is None:
            return {}
        register(replace(identity, fingerprint=fingerprint))
    except Exception as exc:
        report_fault("agents.fingerprint", exc)
        return {}
    return {names.AGENT_FINGERPRINT: fingerprint}


def _write_end(run: Run, opened: OperationSpan, output: object) -> None:
    if run.stopped is not None:
        phase, reason = run.stopped
        opened.attributes[names.AGENT_STOP_PHASE] = phase
        text = None if reason is None else fit_text(redact(str(reason)), lines=True)  # such as a member of an enum
        if text is not None:
            opened.attributes[names.AGENT_STOP_REASON] = text
    reason = fit_text(run.finish_reason)
    if reason is not None:
        opened.attributes[names.FINISH_REASONS] = (reason,)
    if run.gate.mode.on_span and opened.span.is_recording():
        try:
            opened.show(run_content(run, output))
        except Exception as exc:
            report_fault("agents.content", exc)


def _carry_progress(error: Exception, run: Run) -> None:
    """Put `messages`, `usage` and `tool_calls` of *run* on *error*; attributes of its own it keeps.

    An error that ends several runs, one around the other, carries those of the outermost, which the caller started.
    """
    progress: dict[str, Any] = {
        "messages": list(run.messages), "usage": run.usage, "tool_calls": list(run.tool_calls)
    }  # fmt: skip
    try:
        ours: list[str] | None = vars(error).get(_CARRIED)
        if ours is None:
            ours = [name for name in progress if isinstance(error, AgentLimitError) or not _has_attribute(error, name)]
        vars(error).update({name: progress[name] for name in ours}, **{_CARRIED: ours})
    except Exception:  # the user's class, which may have no place for more
        return


def _has_attribute(error: Exception, name: str) -> bool:
    try:
        return hasattr(error, name)
    except Exception:  # a property of the user's
        return True
