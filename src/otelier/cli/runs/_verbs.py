"""`otelier approve`, `reject`, `signal`, `cancel`, `resume`: tell runs something."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from rich.text import Text

from otelier.cli._steps import results
from otelier.cli.runs._asking import EngineOption, IdsArgument, for_each, ids_of, open_client
from otelier.codec import from_json
from otelier.errors import NotJsonError, WorkflowUseError

if TYPE_CHECKING:
    from otelier.workflows import Approval

NameOption: TypeAlias = Annotated[str, typer.Option("--name", help="Name of the approval.")]
ApproverOption: TypeAlias = Annotated[
    str | None, typer.Option("--approver", help="Who decides. Without it, the name you are logged in with.")
]
RoleOption: TypeAlias = Annotated[list[str] | None, typer.Option("--role", help="A role they have; may be repeated.")]
CommentOption: TypeAlias = Annotated[str | None, typer.Option("--comment", help="What they say about it.")]


def approve(
    ids: IdsArgument,
    *,
    name: NameOption,
    approver: ApproverOption = None,
    role: RoleOption = None,
    comment: CommentOption = None,
    engine: EngineOption = None,
) -> None:
    """Approve what runs ask for; the first decision holds.

    Nobody checks here who you are and what roles you have: whoever may write the engine's file may decide.
    """
    client = open_client(engine)
    _decide(client.approve, ids, name, approver, role, comment)


def reject(
    ids: IdsArgument,
    *,
    name: NameOption,
    approver: ApproverOption = None,
    role: RoleOption = None,
    comment: CommentOption = None,
    engine: EngineOption = None,
) -> None:
    """Reject what runs ask for; the first decision holds."""
    client = open_client(engine)
    _decide(client.reject, ids, name, approver, role, comment)


def _decide(
    decide: Callable[..., Awaitable[Approval]],
    ids: list[str],
    name: str,
    approver: str | None,
    roles: list[str] | None,
    comment: str | None,
) -> None:
    who = _login() if approver is None else approver

    async def work(run_id: str) -> str:
        answer = await decide(run_id, name, approver=who, roles=roles or (), comment=comment)
        return f"{answer.decision} {name!r}" + (f" by {answer.approver}" if answer.approver else "")

    for_each(ids_of(ids), work, f"waiting for a worker to take the decision about {name!r}", _tell)


def _login() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name, as in some containers
        return None


def signal(
    ids: IdsArgument,
    *,
    name: Annotated[str, typer.Option("--name", help="Name of the signal.")],
    payload: Annotated[str | None, typer.Option("--payload", help="What it says, as JSON.")] = None,
    engine: EngineOption = None,
) -> None:
    """Send a signal to runs, which keep it until they wait for it."""
    said: Any = None
    if payload is not None:
        try:
            said = from_json(payload)
        except NotJsonError as exc:
            raise WorkflowUseError(
                f"Cannot read `--payload`: {str(exc).rstrip('.')}. A text needs its quotes: '\"paid\"'."
            ) from None
    client = open_client(engine)

    async def work(run_id: str) -> str:
        await client.signal(run_id, name, said)
        return f"was sent {name!r}"

    for_each(ids_of(ids), work, f"sending {name!r}", _tell)


def cancel(ids: IdsArgument, *, engine: EngineOption = None) -> None:
    """Cancel runs and the tasks that they called; nothing happens to those that have ended."""
    client = open_client(engine)

    async def work(run_id: str) -> str:
        before = (await client.run(run_id)).status
        await client.cancel(run_id)
        ended = before in ("completed", "failed", "cancelled")
        return f"had {before} already" if ended else "is being cancelled"

    for_each(ids_of(ids), work, "cancelling", _tell)


def resume(ids: IdsArgument, *, engine: EngineOption = None) -> None:
    """Let blocked runs begin again, such as after their code was mended."""
    client = open_client(engine)

    async def work(run_id: str) -> str:
        before = (await client.run(run_id)).status
        await client.resume(run_id)
        return "begins again" if before == "blocked" else f"is {before}, and goes on as it was"

    for_each(ids_of(ids), work, "resuming", _tell)


def _tell(run_id: str, what: str) -> None:
    results().print(Text.assemble(("✓ ", "green"), (run_id, "bold"), f" {what}"), soft_wrap=True)
