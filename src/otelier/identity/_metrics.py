"""Which agents metrics may name: each name is a time series more."""

from __future__ import annotations

from otelier import names
from otelier.identity._process import process
from otelier.identity._prompts import is_name_of_prompt
from otelier.signals import may_tell


def may_tell_agent(name: str) -> bool:
    """Tell whether metrics may carry *name* as the agent's: the process's own, and the first 200 of each kind.

    Names made of prompts are a kind of their own: prompts that change with each user take no place of a name that
    somebody gave.
    """
    own = process()
    if own is not None and name == own.app:
        return True
    return may_tell(names.AGENT_NAME, name, "of prompts" if is_name_of_prompt(name) else "")
