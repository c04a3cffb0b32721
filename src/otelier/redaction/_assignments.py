"""Assignments: a telling name, and after it the secret, or code, prose, a type, a reference to the secret.

`password: str` declares one, `token = tokenizer.encode(text)` makes one of another kind, `password: hunter2` is one.
"""

from __future__ import annotations

import re
from typing import Final

from otelier.redaction._key_names import VALUE_NAMES, is_harmless, is_other
from otelier.redaction._rules import is_redacted

QUOTE: Final = r"(?:[\"'`]|\\{1,7}[\"'`]|%2[27]|&quot;)"
"""Also escaped, as JSON within JSON, URLs and pages have it."""
BARE: Final = r"(?:[^\s\"'`,;&<>\\]|\\(?![nrt\"'`\\]))"
"""A character of a value without quotes."""
# **Password:** …, and in YAML an item of a list, a tag of its own, and an anchor.
_BEHIND: Final = r"(?:\*\*|__)?\s{0,32}(?:- )?(?:!![a-z]{1,16}[ \t]{1,4}|(?<=: )&\w{1,32}[ \t]{1,4})?"
_SIGN: Final = rf"[:=][=:>]{{0,2}}{_BEHIND}|[?|+!]={_BEHIND}|%3[ad]{_BEHIND}"
_SAID_OF_IT: Final = (
    rf"\\{{0,7}}\"[^\"\n\\]{{0,200}}\\{{0,7}}\"|'[^'\n\\]{{0,200}}'|(?:{QUOTE})?\w{{0,20}}(?:{QUOTE})?"
    r"|\[[^\[\]{}]{0,200}\]"
)
VALUE_NAME: Final = "|".join(name.lower() for name in VALUE_NAMES)
"""Names of values, as an alternative of a pattern."""
# `{"name": "DB_PASSWORD", "value": …}` and the like, with little between.
_PAIR: Final = (
    rf"(?=[\"'`\\%&cdefiklmnprstvw])(?:(?:{QUOTE})?(?:type|kind|in|format|enabled|secret|sensitive|ephemeral|required|label"
    rf"|nullable|writeonly|description|title|enum|pattern|m(?:in|ax)length)(?:{QUOTE})?\s{{0,4}}[:=]\s?"
    rf"(?:{_SAID_OF_IT})[\s,;]{{1,40}}){{0,6}}"
    rf"(?:{QUOTE})?(?:{VALUE_NAME})(?:{QUOTE})?\s{{0,8}}[:=]\s{{0,8}}(?:\[(?=[\s\"'\\])\s{{0,40}})?"
)
_OPENED: Final = rf"[:=]\s{{0,40}}(?:\{{\s{{0,40}})?{_PAIR}"  # {"db_password": {"type": "string", "value": …}}
_SAID: Final = (
    r"(?:is|was|to|-|\||->)\s{1,4}(?=[\"'`]|[^\s0-9]{0,40}[0-9])"
    r"|(?:provided|given|used|found):\s{1,4}(?=[\"'`]|[^\s0-9]{0,40}[0-9])"
    r"|(?=[a-z0-9+/_-]{16})(?=(?:[a-z+/_-]{0,16}[0-9]){3})(?=[0-9+/_-]{0,16}[a-z])"
)
_ARGUMENT: Final = rf"\s{{0,8}},\s{{0,8}}(?=[bfru]?{QUOTE})"  # os.environ.setdefault("API_KEY", "…")
_ANNOTATED: Final = r":\s?[\w.\[\]| ]{1,40}=\s?(?=[\"'])"  # password: str = "…"
_PART: Final = r"(?:\r?\n|(?:\\r)?\\n){2}"  # of a form
ASSIGNED: Final = rf"(?:{QUOTE}|\*\*)?\]?\s{{0,8}}(?:{_SIGN})"
ARGUMENT: Final = QUOTE + _ARGUMENT
# By the first character, so that the engine sees at once which of them it may be.
JOIN: Final = (
    rf"(?:{_ANNOTATED}|{_OPENED}|{_SIGN}|\s{{1,32}}(?:{_OPENED}|{_SIGN}|{_SAID}|{_PAIR})|\*\*(?:{_SIGN})"
    rf"|[,;][\s,;]{{0,39}}{_PAIR}|{QUOTE}(?:\]?\s{{0,32}}(?:{_OPENED}|{_SIGN})|[\s,;{{]{{1,40}}{_PAIR}|{_ARGUMENT}|{_PART}))"
)
"""Separator between a name and its value."""
_TAG: Final = r"(?:![\w/.-]{1,64}[ \t]{1,4})?"  # of YAML, or the start of a password
VALUE: Final = (
    rf"(?:(?:\w{{1,24}}\(|[bfru]{{1,2}})?(?P<quote>{QUOTE}))?"
    rf")(?P<value>(?(quote)(?:(?!(?P=quote))\\?.)+|{_TAG}{BARE}+(?:[,;&]+[^\s\"'`,;&<>\\=:(]+(?=\s|\Z))?))"
)
"""A value, in quotes or bare; what stands before it ends the group that is kept."""

_ASSIGNS: Final = re.compile(r"[:=,]|%3[ad]")
_PROSE_NAMES: Final = frozenset(
    ("password", "passwords", "secret", "secrets", "token", "credential", "credentials", "authorization")
)
_NO_VALUE: Final = frozenset(("null", "none", "true", "false", "undefined", "nil", "nan", "empty"))
_STATES: Final = frozenset(
    (
        *("required", "optional", "invalid", "missing", "incorrect", "wrong", "expired", "yes", "no", "hidden"),
        *(
            "unknown",
            "unset",
            "set",
            "ok",
            "valid",
            "disabled",
            "enabled",
            "denied",
            "redacted",
            "default",
            "needed",
            "protected",
        ),
        *("include", "omit", "same-origin", "closed", "open", "expires", "weak", "strong", "failed", "accepted"),
    )
)
_TYPE: Final = re.compile(
    r"(?:str|string|bytes|int|integer|bool|boolean|float|number|object|text|any|uuid|self|secretstr|secretbytes|varchar"
    r"|char|nvarchar|optional|union|list|dict|array|sequence|iterable|literal|annotated|option|vec|byte)"
    r"(?:[\[(<|?].*|[)\]}|?]*)\Z"
)
_CALL: Final = re.compile(r"[a-z_$][\w$]*(?:(?:\.|::|->|\?\.)[\w$]+)*[(\[][^!@#%^*~]*\Z")
_HEADS: Final = re.compile(
    r"(?:self|this|cls|os|sys|process|env|environ|config|settings|conf|cfg|args|opts|options|request|req|ctx|context|app"
    r"|user|data|params|props|state|secrets?|vault|var|vars|local|module|input|event|form|body|kwargs|session|response|res"
    r"|client|credentials|creds|import|document|window|account|auth|obj|item|row|record|payload|model|db|each|values?)"
    r"(?:\.|->|::|\[)[a-z_]"
)
_CODE_WORDS: Final = frozenset(("await", "new", "not", "lambda", "async", "yield", "return", "func", "function", "if"))
_NOT_SAID: Final = re.compile(
    # "The token is 128-bit", "the password is SHA-256 hashed".
    r"(?:\d+(?:st|nd|rd|th|[km]?b?|[- ]?(?:bit|byte|char|digit|day|hour|min|sec|word|step|token|time)s?\w*)\b"
    r"|v\d|\d+[-x]\d"
    r"|(?:sha|md|base|utf|aes|rsa|hs|rs|es|ed|gpt|oauth|pkcs|argon|bcrypt|p|h|w|o|llama|claude)-?\d)"
)
_SENTENCE: Final = re.compile(r"[A-Za-z]+[A-Za-z ,.'!?:-]* [A-Za-z ,.'!?:-]+\Z")
_JOINED: Final = re.compile(r"\s*[+.&]\s*[A-Za-z_][\w.]*")  # "token=" + token
_SPELLED: Final = re.compile(r"[\w-]*\Z")
_COMPARED: Final = re.compile(r"[=!]=")
_VARIABLE: Final = re.compile(r"[a-z_][a-z_.]*\Z")
_NAME_LIKE: Final = re.compile(r"[A-Za-z_][A-Za-z_-]*\Z")


def is_no_secret(match: re.Match[str], text: str) -> bool:
    """Return whether what `JOIN` and `VALUE` found behind a `name` is none."""
    name, start = match["name"], match.start("name")
    value = text[match.start("value") : match.end("value")]
    join = match["join"]
    left = match.string[max(start - 24, 0) : start]
    if is_other(name, left) or is_harmless(name, value):
        return True
    if name == "pass" and (value.isdigit() or (value.isalpha() and match["quote"] is None and left[-1:] not in "_-")):
        return True  # "pass: 12, fail: 3", "the pass: closed"
    if _ASSIGNS.search(join) is None or join.endswith(("d: ", "n: ")):
        return "\n" not in join and _is_not_said(value, match["quote"])
    if match["quote"] is not None:
        if value.lower() in _STATES and name == "credentials":
            return True
        return _is_no_argument(join, value) or _is_logprob(match) or _is_closing(match["quote"], left, value)
    return _is_no_bare_value(match, name, left, join, value)


def _is_not_said(value: str, quote: str | None) -> bool:
    # Behind "my password is" stands a word of a sentence, unless it is in quotes or looks like no word.
    if quote is not None:
        return " " in value
    word = value.rstrip(".,!?)")
    has_both = any(map(str.isdigit, word)) and any(map(str.isalpha, word))
    return len(word) < 6 or not has_both or _NOT_SAID.match(word.lower()) is not None


def _is_no_argument(join: str, value: str) -> bool:
    # A list of names, `["password", "email"]`, or a text for people.
    if "," not in join or ":" in join or "=" in join:
        return False
    return _NAME_LIKE.match(value) is not None or value.startswith("-") or _SENTENCE.match(value) is not None


def _is_closing(quote: str, left: str, value: str) -> bool:
    # getpass("Password: "): of a name within quotes, and of a prompt behind a name.
    return (
        (value[0] in ")],;}+" and quote in left)
        or value.rstrip()[-1:] in (":", "?")
        or _JOINED.match(value) is not None
    )


def _is_logprob(match: re.Match[str]) -> bool:
    return match["name"] == "token" and "logprob" in match.string[match.end() : match.end() + 16]


def _is_no_bare_value(match: re.Match[str], name: str, left: str, join: str, value: str) -> bool:
    if value.isalnum() and not value.isalpha() and not value.isdigit():
        return False  # letters and digits are no code
    lowered = value.lower()
    word = lowered.rstrip(".!?)]},;:").lstrip("$@&*:")
    if word in _NO_VALUE or word in _CODE_WORDS or not word.strip("([{=|"):
        return True
    if name in ("token", "tokens") and word.isdigit():
        return True
    if _COMPARED.search(join) and _VARIABLE.match(word):
        return True
    if ":" in join and (word in _STATES or _TYPE.match(lowered.rstrip(",;"))):
        return True
    if not lowered.isalnum() and (_HEADS.match(lowered) or _CALL.match(lowered)):
        return True
    if name in word and _is_passed_on(word, name, left):
        return True
    return _is_prose(match, name, join, word)


def _is_passed_on(word: str, name: str, left: str) -> bool:
    # password=password, password=db_password, password: passwordRef
    if word.endswith(f"_{name}") or (word.startswith(name) and word.isalpha()):
        return True
    return _joined(word) == _joined(_spelled(left + name))


def _spelled(text: str) -> str:
    match = _SPELLED.search(text)
    return match[0] if match else ""


def _joined(name: str) -> str:
    return name.replace("_", "").replace("-", "")


def _is_prose(match: re.Match[str], name: str, join: str, word: str) -> bool:
    # "The secret: never give up", "Forgot your password: click here": a plain word, and more words after it.
    start = match.start("name")
    if "=" in join or not (name in _PROSE_NAMES or (name == "key" and match.string[start - 1] == " ")):
        return False
    after = match.string[match.end() : match.end() + 2]
    return word.isalpha() and after[:1] == " " and after[1:].isalpha()


def is_no_authorization(match: re.Match[str], text: str) -> bool:
    """Return whether what stands behind `Authorization:` is prose, code or redacted already."""
    value = match["value"]
    if is_redacted(value) or is_harmless("authorization", text[match.start("value") : match.end("value")]):
        return True
    return match["scheme"] is None and _is_no_bare_value(match, "authorization", "", match["join"], value)
