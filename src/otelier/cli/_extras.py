"""Extras that a command needs, asked for before anything of them is imported."""

from __future__ import annotations

from importlib.util import find_spec

from otelier.errors import MissingExtraError


def require(extra: str, *modules: str) -> None:
    """Check that the *modules* are installed that `pip install "otelier[extra]"` brings.

    Raises:
        MissingExtraError: if one is missing; the message is the line to run.
    """
    missing = [module for module in modules if not _is_installed(module)]
    if missing:
        raise MissingExtraError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed. "
            f'Run: pip install "otelier[{extra}]"',
            extra=extra,
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
