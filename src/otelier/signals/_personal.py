r"""The table of personal data, for content only and only when asked for: it has no form as sharp as a secret's.

Names, addresses and the like are not found. Each pattern is tried from the left edge of a word or number only, and
what it repeats is bounded, so it runs in linear time.
"""

from __future__ import annotations

import re

from otelier.signals._secrets import Row

_SHORTEST_CARD, _LONGEST_CARD = 13, 19
_DIGITS = tuple("0123456789")


def is_card(number: str) -> bool:
    """Tell whether the digits of *number* are as many as a payment card's, and its check digit fits (Luhn).

    Example:
        >>> is_card("4111 1111 1111 1111"), is_card("4111 1111 1111 1112")
        (True, False)
    """
    digits = [int(char) for char in number if char in _DIGITS]
    if not _SHORTEST_CARD <= len(digits) <= _LONGEST_CARD:
        return False
    doubled = [2 * digit for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(digit - 9 if digit > 9 else digit for digit in doubled)) % 10 == 0


def _not_a_card(match: re.Match[str]) -> bool:
    return not is_card(match[0])


PERSONAL: tuple[Row, ...] = (
    Row(
        kind="email",
        hints=("@",),
        pattern=re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[\w-]{1,63}\.){1,8}\w{2,24}"),
        any_case=False,
        unless=None,
    ),
    Row(
        kind="card",
        hints=_DIGITS,
        # In one piece, in fours, or in the 4-6-5 of some issuers; a check value that follows is no part of it.
        pattern=re.compile(
            r"(?<![\w.-])(?:[0-9]{13,19}|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}"
            r"|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5})(?!\w)"
        ),
        any_case=False,
        unless=_not_a_card,
    ),
    Row(
        kind="phone",
        hints=_DIGITS,
        # International, North American, and national with a leading zero; the last two need their separators.
        pattern=re.compile(
            r"(?<![\w.+-])(?:\+[1-9](?:[ ()./-]{0,2}[0-9]){6,14}"
            r"|\(?[2-9][0-9]{2}\)?[ .-]{1,2}[0-9]{3}[ .-][0-9]{4}"
            r"|0[0-9]{1,4}[ /-][0-9]{3,4}(?:[ -]?[0-9]{2,4}){1,3})(?!\w)"
        ),
        any_case=False,
        unless=None,
    ),
)
