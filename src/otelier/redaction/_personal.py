r"""The table of personal data, for content only and only when asked for: it has no form as sharp as a secret's.

Names, addresses and the like are not found. Each pattern is tried from the left edge of a word or number only, and
what it repeats is bounded, so it runs in linear time.
"""

from __future__ import annotations

import re
from typing import Final

from otelier.redaction._rules import Find, Group, Row

_SHORTEST_CARD, _LONGEST_CARD = 13, 19
_DIGITS: Final = tuple("0123456789")
_NOT_DIGITS: Final = re.compile(r"[^0-9]")
# What issuers' numbers begin with, and how long they are.
_ISSUED: Final = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|(?:5[1-5]|2[2-7])[0-9]{14}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}"
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2}|62[0-9]{2}|81[0-9]{2})[0-9]{12,15}|35[0-9]{14}|(?:50|5[6-8]|6[0-9])[0-9]{14}|9792[0-9]{12}"
)
# Characters of an IBAN, by its country.
_IBAN_LENGTHS: Final = {
    country: size
    for size, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}


def is_card(number: str) -> bool:
    """Return whether the digits of *number* are as many as a payment card's, and its check digit fits (Luhn).

    Example:
        >>> is_card("4111 1111 1111 1111"), is_card("4111 1111 1111 1112")
        (True, False)
    """
    text = _NOT_DIGITS.sub("", number)
    if not _SHORTEST_CARD <= len(text) <= _LONGEST_CARD or _ISSUED.fullmatch(text) is None:
        return False
    digits = list(map(int, text))
    doubled = [2 * digit for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(digit - 9 if digit > 9 else digit for digit in doubled)) % 10 == 0


def is_iban(number: str) -> bool:
    """Return whether the check digits of *number*, an account number without blanks, fit.

    Example:
        >>> is_iban("DE89370400440532013000"), is_iban("DE88370400440532013000")
        (True, False)
    """
    return int("".join(str(int(char, 36)) for char in number[4:] + number[:4])) % 97 == 1


class _Ibans:
    """Account numbers, in one piece or in fours; how far one goes its country says, so words behind it stay."""

    hints = _DIGITS
    any_case = False
    _start = re.compile(r"[A-Z]{2}(?<![A-Za-z0-9]..)[0-9]{2}(?=[ -]?[A-Z0-9]{2,4}[ -]?[A-Z0-9]{2})")

    def find(self, text: str, lowered: str) -> list[Find]:
        """Return the account numbers in *text*."""
        finds: list[Find] = []
        for match in self._start.finditer(text):
            size = _IBAN_LENGTHS.get(match[0][:2])
            if size is None:
                continue
            end, left = match.end(), size - 4
            while left and end < len(text):
                if text[end] in " -" and end + 1 < len(text):
                    end += 1
                if not (text[end].isascii() and text[end].isalnum()):
                    break
                end, left = end + 1, left - 1
            number = text[match.start() : end].replace(" ", "").replace("-", "")
            if not left and not text[end : end + 1].isalnum() and number.isupper() and is_iban(number):
                finds.append((match.start(), end, "iban"))
        return finds


def _not_a_card(match: re.Match[str], _: str) -> bool:
    return not is_card(match[0])


def _not_an_address(match: re.Match[str], text: str) -> bool:
    # Versions, images for sharp screens, users of machines, matrices: `left-pad@1.2.3-beta.rc`, `logo@2x.png`.
    local, _, domain = match[0].replace("%40", "@").rpartition("@")
    after = text[match.end() : match.end() + 1]
    if local == "git" or after == "(" or _VERSION.match(domain) or domain.startswith(("self.", "this.")):
        return True
    return _FILE.search(domain) is not None and (domain[0].isdigit() or domain.count(".") == 1)


def _not_an_ssn(match: re.Match[str], text: str) -> bool:
    area, group, serial = match["area"] + match["rest"], match["group"], match["serial"]
    if area in ("000", "666") or group == "00" or serial == "0000" or (area[0] == "9" and group[0] not in "5789"):
        return True
    if match["by"] == "-":
        return False
    return _SSN_WORDS.search(text[max(match.start() - 40, 0) : match.start()].lower()) is None


def _not_a_phone(match: re.Match[str], text: str) -> bool:
    number = match[0]
    digits = _NOT_DIGITS.sub("", number)
    if number[0] == "+":
        if len(digits) < 8 or _COORDINATE.fullmatch(number):
            return True
        # An amount in groups of three, with what it is of.
        return _AMOUNT.fullmatch(number) is not None and _UNIT.match(text, match.end()) is not None
    return _DATE.fullmatch(number) is not None


_VERSION: Final = re.compile(r"\d+\.\d+(?:\.|\Z)|\d+\.\d+\.\d")
_FILE: Final = re.compile(
    r"\.(?:png|jpe?g|gif|svg|webp|css|js|mjs|ts|tsx|py|md|json|ya?ml|txt|so|dll|service|local|t)\Z", re.IGNORECASE
)
_SSN_WORDS: Final = re.compile(r"ssn|social security|social-security|tax(?:payer)? id|itin")
_COORDINATE: Final = re.compile(r"\+\d{1,3}\.\d{4,7}")
_AMOUNT: Final = re.compile(r"\+\d{1,3}(?:[ .]\d{3})+")
_UNIT: Final = re.compile(
    r"\s?(?:[A-Z]{3}\b|[€$£¥%‰]|(?:dollars|euros|users|people|requests|tokens|views|points|units|rows)\b)"
)
_DATE: Final = re.compile(r"\(?\d{4}\)?[ /-]\d{4}|0?\d[ /-]\d{4}.*")
_DATE_LIKE: Final = re.compile(r"(?:19|20)\d\d-[01]\d-[0-3]\d|\d{1,3}(?:\.\d{1,3}){3}")
_PHONE_WORDS: Final = r"(?:phone|mobile|cell|whatsapp|tel|fax|telefon|handy|móvil|portable|电话|手机|電話|携帯)"

_EDGE: Final = r"[0-9](?<![A-Za-z0-9_.-].)"
"""The first digit of a number; the engine finds a class faster than what stands before it."""

PERSONAL: Final = (
    Group(
        ("@", "%40", "at]", "at)"),
        (
            Row(
                kind="email",
                hints=("@", "%40"),
                pattern=re.compile(
                    r"(?<![\w.%+-])(?<!//)[\w.%+-]{1,64}?(?:@|%40)(?:[\w-]{1,63}\.){1,8}(?:xn--[\w-]{2,32}|[^\W\d_]{2,24})(?![\w@])"
                ),
                unless=_not_an_address,
            ),
            Row(
                kind="email",
                hints=("[at]", "(at)", "[at ", "(at "),
                pattern=re.compile(
                    r"(?<![\w.%+-])[\w.%+-]{1,64}\s?[\[(]\s?at\s?[\])]\s?(?:[\w-]{1,63}(?:\.|\s?[\[(]\s?dot\s?[\])]\s?)){1,4}"
                    r"[^\W\d_]{2,24}"
                ),
                any_case=True,
            ),
        ),
    ),
    Group(
        _DIGITS,
        (
            _Ibans(),
            Row(
                kind="card",
                hints=_DIGITS,
                # In one piece, in fours, or in the 4-6-5 of some issuers; a check value that follows is no part of it.
                pattern=re.compile(
                    rf"{_EDGE}(?:[0-9]{{12,18}}|[0-9]{{3}}([ .-]{{1,2}}|/)[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{1,4}}"
                    r"|[0-9]{3}([ .-])[0-9]{6}\2[0-9]{4,5})(?![A-Za-z0-9_])"
                ),
                unless=_not_a_card,
            ),
            Row(
                kind="card",
                hints=_DIGITS,
                pattern=re.compile(rf"{_EDGE}[0-9]{{3}}([ .-])(?:[0-9]{{4}}\1){{3}}[0-9]{{3}}(?![A-Za-z0-9_])"),
                unless=_not_a_card,
            ),
            Row(
                kind="ssn",
                hints=_DIGITS,
                pattern=re.compile(
                    rf"{_EDGE}(?<=(?P<area>[0-9]))(?P<rest>[0-9]{{2}})(?P<by>[ .-]?)(?P<group>[0-9]{{2}})(?P=by)"
                    r"(?P<serial>[0-9]{4})"
                    r"(?![A-Za-z0-9_]|[.-][0-9])"
                ),
                unless=_not_an_ssn,
            ),
            Row(
                kind="phone",
                hints=_DIGITS,
                # International, with + or 00, North American, French, and national with a leading zero.
                pattern=re.compile(
                    r"[+(0-9](?<![A-Za-z0-9_.+-].)(?<![0-9] .)(?:(?<=\+)[ (]?[1-9](?:[ ()./-]{0,3}[0-9]){6,14}"
                    r"|(?<=0)0[1-9](?:[ ()./-]{0,2}[0-9]){8,13}"
                    r"|(?:(?<=1)[ .-]\(?[2-9]|(?<=\()[2-9]|(?<=[2-9]))[0-9]{2}\)?[ .-]{1,2}[2-9][0-9]{2}[ .-][0-9]{4}"
                    r"|(?<=0)[1-9](?:[ .-][0-9]{2}){4}"
                    r"|(?:(?<=\()0|(?<=0))[0-9]{1,4}\)?[ /-]{1,3}[0-9]{3,4}(?:[ -]?[0-9]{2,4}){1,3})"
                    r"(?![A-Za-z0-9_]|[.-][0-9])"
                ),
                unless=_not_a_phone,
            ),
            Row(
                kind="phone",
                hints=(
                    *("phone", "mobile", "cell", "whatsapp", "tel", "fax", "handy", "móvil"),
                    *("电话", "手机", "電話", "携帯"),
                ),
                # After a word that says so, any number of as many digits.
                pattern=re.compile(
                    rf"(?P<keep>{_PHONE_WORDS}[^\d\n@+\[\]]{{0,16}})\(?[0-9](?:[ ()./-]{{0,2}}[0-9]){{6,14}}"
                    r"(?![A-Za-z0-9_]|[.-][0-9])"
                ),
                any_case=True,
                unless=lambda match, _: _DATE_LIKE.search(match[0]) is not None,
            ),
        ),
        re.compile(r"[0-9](?:[^0-9A-Za-z\n\"]{0,3}[0-9]){6}"),
    ),
)
"""In the order in which they look."""
