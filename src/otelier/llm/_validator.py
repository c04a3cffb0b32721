"""The `jsonschema` library, set up for schemas that are meant for models; it is loaded by the first check."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import wraps
from typing import Any, TypeAlias

from jsonschema import Draft202012Validator, ValidationError, validators
from referencing.jsonschema import EMPTY_REGISTRY

Keyword: TypeAlias = Callable[[Any, Any, Any, Any], "Iterator[ValidationError] | None"]

MOST_FRAMES = 2000


def errors_of(value: Any, schema: Mapping[str, Any]) -> list[Any]:
    """Return what the library finds of *value* against *schema*, as draft 2020-12 has it, in the order of places.

    Nothing is ever fetched for a reference.

    Raises:
        RecursionError: if value or references are nested too deeply.
    """
    _check_depth()
    plain = {name: wanted for name, wanted in schema.items() if name != "$schema"}  # which would pick another validator
    try:
        validator = _Validator(plain, registry=EMPTY_REGISTRY)
    except Exception:  # such as an `$id` that is no text
        return []
    return sorted(validator.iter_errors(value), key=lambda error: error.path)


def _check_depth() -> None:
    """Raise `RecursionError` well below Python's own limit, where the library's maps, written in Rust, would panic.

    The bound is lower than the limit, because calls of C count as well and have no frame, and it is absolute, because
    a limit that an application has set high may be more than the stack of the machine holds.
    """
    try:
        sys._getframe(min(sys.getrecursionlimit() * 2 // 3, MOST_FRAMES))  # pyright: ignore[reportPrivateUsage]
    except ValueError:  # the stack is less deep
        return
    raise RecursionError


def _lenient(keyword: Keyword) -> Keyword:
    """Let a keyword whose value the draft does not know refuse nothing.

    That is a type that there is not, a pattern that JavaScript knows and Python does not, a reference to nowhere.
    """

    @wraps(keyword)
    def check(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        _check_depth()
        try:
            yield from keyword(validator, wanted, value, schema) or ()
        except (RecursionError, MemoryError):
            raise
        except Exception:
            return

    return check


def _multiple_of(validator: Any, step: Any, value: Any, _: Any) -> Iterator[ValidationError]:
    """Take 0.3 as three times 0.1, and integers that no float can hold: the library does neither."""
    if validator.is_type(value, "number") and not _divides(value, step):
        yield ValidationError("")


def _divides(value: float, step: float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    try:
        return math.isclose(value / step, round(value / step), rel_tol=1e-9, abs_tol=1e-9)
    except OverflowError:
        return Fraction(value) % Fraction(step) == 0


def _property_names(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    """Put each name that is not allowed in its own place: the library has the place of the object."""
    for error in _LATEST.VALIDATORS["propertyNames"](validator, wanted, value, schema):
        yield ValidationError("", path=[error.instance])


_library: Any = validators  # it has no types
_LATEST: Any = Draft202012Validator
_KEYWORDS: dict[str, Keyword] = {
    **_LATEST.VALIDATORS,
    "multipleOf": _multiple_of,
    "propertyNames": _property_names,
}
_Validator: Any = _library.create(
    _LATEST.META_SCHEMA,
    {name: _lenient(keyword) for name, keyword in _KEYWORDS.items()},
)
