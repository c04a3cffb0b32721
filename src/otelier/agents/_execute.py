"""From a call of `Agent.run` to its result: the run's context, its place among other runs, its span."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from opentelemetry.context import Context, get_current
from opentelemetry.util.types import AttributeValue
from pydantic import BaseModel

from otelier import names
from otelier.agents._content import run_content
from otelier.agents._context import RunContext, derived
from otelier.agents._exported import fields_of, notes_of
from otelier.agents._facts import carry_facts
from otelier.agents._loop import work
from otelier.agents._operations import RunPoint, agent_span
from otelier.agents._read_only import Conversation
from otelier.agents._results import AgentEvent, AgentResult, RunFinished
from otelier.agents._run import RUN, Limits, Offer, Run, current_run
from otelier.agents._task import Task
from otelier.errors import AgentLimitError
from otelier.faults import report_fault
from otelier.fields import with_fields
from otelier.identity import AgentIdentity, fingerprint_of, process, register, resolve
from otelier.interceptors import Interceptor
from otelier.redaction import content_gate, redact
from otelier.telemetry import OperationSpan, fit_text, fit_texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an agent is, as its runs need it."""

    name: str
    model: str
    version: str | None
    description: str | None
    client: Any = field(repr=False)
    output_type: type[BaseModel] | None
    instructions: str | None = field(repr=False)
    offers: Mapping[str, Offer]
    interceptors: Sequence[Interceptor]
    limits: Limits
    settings: Mapping[str, Any] = field(repr=False)
    told_model: str = field(init=False)
    """The model's name as signals may carry it."""
    attributes: Mapping[str, AttributeValue] = field(init=False, repr=False)
    """What the span of each run starts with."""

    def __post_init__(self) -> None:
        model = fit_text(self.model) or ""
        found: dict[str, AttributeValue | None] = {
            names.OPERATION: names.INVOKE_AGENT,
            names.AGENT_NAME: self.name,
            names.REQUEST_MODEL: model,
            names.OUTPUT_TYPE: None if self.output_type is None else "json",
            names.AGENT_VERSION: fit_text(self.version, lines=True),
            names.AGENT_DESCRIPTION: fit_text(self.description, lines=True),
        }
        object.__setattr__(self, "told_model", model)
        object.__setattr__(self, "attributes", {name: value for name, value in found.items() if value is not None})


async def execute(
    plan: Plan, task: Task, context: RunContext | None, emit: Callable[[AgentEvent], None] | None
) -> AgentResult[Any]:  # fmt: skip
    """Run *plan* on *task* in the current context and return its result.

    Raises:
        AgentLimitError: if the run is delegated too deep, or takes too many steps.
        AnswerError: if the provider sends no answer, or the output is not what the plan promises.
        ClientUseError: if the client belongs to another event loop.
        Exception: what the client or an interceptor raises, unchanged.
    """
    run = _begin(plan, task, context, emit)
    point = RunPoint(plan.name, plan.told_model)
    attributes = {**plan.attributes, **_known_by(plan.instructions, run.identity)}
    with agent_span(f"{names.INVOKE_AGENT} {plan.name}", attributes, _inside(run), point, run.gate) as opened:
        said = None
        try:
            if run.depth > plan.limits.max_depth:
                raise AgentLimitError(
                    f"Agent {plan.name!r} would run at depth {run.depth}: agents delegate to each other without end, "
                    f"or `max_depth={plan.limits.max_depth}` is too low.",
                    limit="max_depth",
                )
            said = output = await work(run)
        except Exception as exc:
            carry_facts(exc, run)
            raise
        finally:
            run.is_over = True
            point.inference_calls, point.tool_calls = run.questions, run.calls
            _at_end(run, opened, said)
    result: AgentResult[Any] = AgentResult(
        output=output,
        messages=run.messages,
        usage=run.usage,
        tool_calls=run.tool_calls,
        finish_reason=run.finish_reason,
        context=run.context,
    )
    run.tell(RunFinished, result=result)
    return result


def _begin(plan: Plan, task: Task, context: RunContext | None, emit: Callable[[AgentEvent], None] | None) -> Run:
    loop = asyncio.get_running_loop()
    parent = current_run()
    identity = cast("AgentIdentity", resolve(plan.name, None, named_with_id=False))
    given = context is not None
    context = RunContext() if context is None else context
    return Run(
        identity=identity,
        model=plan.model,
        client=plan.client,
        offers=dict(plan.offers),
        interceptors=plan.interceptors,
        limits=plan.limits,
        task=task,
        settings={**plan.settings, **task.settings},
        context=derived(context, {"query": context.query or task.text}, identity),
        given=given,
        parent=parent,
        depth=0 if parent is None else parent.depth + 1,
        limiter=asyncio.Semaphore(plan.limits.max_parallel_tools),
        gate=content_gate(),
        emit=emit or (parent.emit if parent is not None and parent.loop is loop else None),
        conversation=Conversation(task.messages(plan.instructions)),
        loop=loop,
        instructions=plan.instructions,
        output_type=plan.output_type,
    )


def _inside(run: Run) -> Context:
    """Return the context that the run works in: its user, its agent, its lineage, and what it exports."""
    notes: dict[str, AttributeValue] = {**notes_of(run.context), names.AGENT_DEPTH: run.depth}
    if run.parent is not None:
        parent = run.parent.identity
        notes[names.AGENT_PARENT_NAME] = parent.name
        notes[names.AGENT_PARENT_ID] = parent.id
    # The id is that of the agent around it: a name never stands beside another's.
    inside = with_fields(get_current(), notes=notes, agent=run.identity.name, agent_id="", **fields_of(run.context))
    return Context({**inside, RUN: run})


def _known_by(instructions: str | None, identity: AgentIdentity) -> dict[str, AttributeValue]:
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


def _at_end(run: Run, opened: OperationSpan, output: object) -> None:
    if run.stopped is not None:
        phase, reason = run.stopped
        opened.attributes[names.AGENT_STOP_PHASE] = phase
        told = None if reason is None else fit_text(redact(str(reason)), lines=True)  # such as a member of an enum
        if told is not None:
            opened.attributes[names.AGENT_STOP_REASON] = told
    reasons = fit_texts((run.finish_reason,))
    if reasons:
        opened.attributes[names.FINISH_REASONS] = reasons
    if run.gate.mode.on_span and opened.span.is_recording():
        try:
            opened.show(run_content(run, output))
        except Exception as exc:
            report_fault("agents.content", exc)
