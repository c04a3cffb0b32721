r"""The table of secrets: what they look like, and what stands in their place.

A row is tried only where one of its hints occurs, so a text without secrets costs a few substring searches. Every
pattern runs in linear time: it begins with a literal or a character class, which the engine finds quickly, looks at
what stands left of that only then (0.6 ms instead of 56 per megabyte), and what it repeats has an end that is not
tried again from each character. Left boundaries allow for `\n` and `%20` written out, as JSON and URLs do.

Another tier, such as personal data, is another tuple of rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

MARK = "[REDACTED:"


def redacted(kind: str) -> str:
    """Return what stands in the place of a secret of *kind*."""
    return f"{MARK}{kind}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of secret."""

    kind: str
    """Name within `[REDACTED:kind]`."""
    hints: tuple[str, ...]
    """Lower-case texts of which one occurs wherever the pattern can match."""
    pattern: re.Pattern[str]
    """What is found; a group `keep` at its start stays, all the rest is replaced."""
    any_case: bool
    """The pattern is in lower case and looks at the lowered text; the engine's own way takes ten times as long."""
    unless: Callable[[re.Match[str]], bool] | None
    """Looks again at what was found; true means that it is no secret."""

    def apply(self, text: str, lowered: str) -> str:
        """Return *text* with what this row finds replaced; *lowered* is the same, of equal length, in lower case."""
        pieces: list[str] = []
        done = 0
        keeps = "keep" in self.pattern.groupindex
        for match in self.pattern.finditer(lowered if self.any_case else text):
            if self.unless is None or not self.unless(match):
                pieces += text[done : match.end("keep") if keeps else match.start()], redacted(self.kind)
                done = match.end()
        return "".join([*pieces, text[done:]]) if pieces else text


def lower(text: str) -> str:
    """Return *text* in lower case with every character in its place.

    Example:
        >>> len(lower("İ")), len("İ".lower())
        (1, 2)
    """
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _row(
    kind: str,
    hints: str,
    pattern: str,
    *,
    any_case: bool = False,
    unless: Callable[[re.Match[str]], bool] | None = None,
) -> Row:
    return Row(kind=kind, hints=tuple(hints.split(" ")), pattern=re.compile(pattern), any_case=any_case, unless=unless)


def _at_start(literal: str) -> str:
    return rf"{literal}(?:(?<![A-Za-z0-9_-]{literal})|(?<=\\[nrt]{literal})|(?<=%[0-9A-Fa-f]{{2}}{literal}))"


_QUOTE = r"\\{0,7}[\"'`]"
_JOIN = rf"(?:{_QUOTE})?\s{{0,8}}(?::|=>?)\s{{0,8}}"
_BARE = r"(?:[^\s\"'`,;&<>\\]|\\(?![nrt\"'`\\]))"  # a character of a value without quotes

# Names that tell what stands behind them. The end of a name is enough: `db_password`, `OPENAI_API_KEY`, `clientSecret`.
# A `key` is looked at from its end, so that the engine need not stop at every `a` and `s` of a text.
_OF_KEYS = ("access", "account", "api", "auth", "encryption", "license", "private", "secret", "shared", "signing")
_KEY = "key(?:" + "|".join(rf"(?<={of}key)|(?<={of}[ _-]key)" for of in (*_OF_KEYS, "subscription")) + ")"
_TELLING = rf"(?:pass(?:word|wd|phrase|code)|pwd|secret|token|credentials?|{_KEY})"
_TELLING_NAME = re.compile(rf"(?:{_TELLING}|authorization|cookie|^auth)\Z")
_PROSE_NAMES = frozenset({"password", "secret", "token", "credential", "credentials", "authorization"})
_NO_VALUE = frozenset({"null", "none", "true", "false", "undefined", "nil"})
_FETCHED = re.compile(r"[a-z_][\w.]*(?:\[|\(|\(\))\Z")  # from elsewhere, as `os.environ[` and `getpass()` do
_OPENING = re.compile(r"[{\[]+\Z")  # of nested JSON, which is looked at by itself


def is_telling(name: str) -> bool:
    """Tell whether what is stored under *name* is a secret by its name.

    Example:
        >>> is_telling("dbPassword"), is_telling("max_tokens")
        (True, False)
    """
    return _TELLING_NAME.search(name[-64:].lower()) is not None


def is_harmless(name: str, value: object) -> bool:
    """Tell whether *value* under a telling *name* is no secret: empty, a flag, a number of tokens, a directory."""
    if value is None or isinstance(value, bool):
        return True
    lowered = name.lower()
    if isinstance(value, (int, float)):
        return lowered.endswith("token")
    if isinstance(value, str):
        return not value.strip() or _is_redacted(value) or (lowered.endswith("pwd") and value.startswith("/"))
    return False


def _is_redacted(value: str) -> bool:
    return value[: len(MARK)].lower() == MARK.lower()


def _is_prose(match: re.Match[str]) -> bool:
    # "The secret: never give up", "Forgot your password: click here": a plain word, and more words after it.
    name, start = match["name"], match.start("name")
    if "=" in match["join"] or not (name in _PROSE_NAMES or (name == "key" and match.string[start - 1] == " ")):
        return False
    word = match["value"].rstrip(".!?)")
    after = match.string[match.end() : match.end() + 2]
    return word.isalpha() and after[:1] == " " and after[1:].isalpha()


def _not_assigned(match: re.Match[str]) -> bool:
    name, value = match["name"], match["value"]
    if is_harmless(name, value):
        return True
    if match["quote"] is not None:
        return False
    if value in _NO_VALUE or _FETCHED.match(value) or _OPENING.match(value):
        return True
    return (name == "token" and value.isdigit()) or _is_prose(match)


def _not_authorization(match: re.Match[str]) -> bool:
    return _is_redacted(match["value"]) or (match["scheme"] is None and _is_prose(match))


def _not_bearer(match: re.Match[str]) -> bool:
    return match["value"].isalpha() and len(match["value"]) < 24  # "a bearer's responsibilities"


SHORTEST_KEY = 13
"""Characters of the shortest secret that is known by its own form; any other stands behind a `:` or a `=`."""

SECRETS: tuple[Row, ...] = (
    _row(
        "private-key",
        "private key",
        # A key cut off before its end is redacted to the end of the text.
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    ),
    _row("jwt", "eyj", _at_start("eyJ") + r"[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+){1,3}\.[A-Za-z0-9_-]*"),
    _row(
        "api-key",
        "sk-",
        # OpenAI, Anthropic, OpenRouter and those who copy their form. Words joined by hyphens are none.
        _at_start("sk-") + r"(?:(?:ant|proj|svcacct|admin|or|test|live|lf)-[A-Za-z0-9_-]{6,}"
        r"|[A-Za-z0-9]{16,}[A-Za-z0-9_-]*|(?=[A-Za-z_-]{0,64}[0-9])[A-Za-z0-9_-]{12,})",
    ),
    _row("api-key", "aiza", r"AIza[A-Za-z0-9_-]{30,}"),
    _row("api-key", "gocspx-", r"GOCSPX-[A-Za-z0-9_-]{20,}"),
    _row("api-key", "ya29.", r"ya29\.[A-Za-z0-9_-]{20,}"),
    _row("api-key", "gsk_ hf_ r8_", r"(?:gsk_|hf_|r8_)[A-Za-z0-9]{20,}"),
    _row("api-key", "xai- pplx-", r"(?:xai-|pplx-)[A-Za-z0-9]{20,}"),
    _row("api-key", "k_live_ k_test_", _at_start("[srp]k_") + r"(?:live|test)_[A-Za-z0-9]{10,}"),
    _row("api-key", "whsec_", r"whsec_[A-Za-z0-9+/]{16,}"),
    _row("api-key", "sg.", r"SG\.(?<![A-Za-z0-9_]SG\.)[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,}"),
    _row("aws-key", "akia asia", r"A[KS]IA(?<![A-Za-z0-9]A[KS]IA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _row("token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9_]{20,}"),
    _row("token", "github_pat_", r"github_pat_[A-Za-z0-9_]{20,}"),
    _row("token", "glpat-", r"glpat-[A-Za-z0-9_.-]{16,}"),
    _row("token", "xox", r"xox[a-z]-[A-Za-z0-9-]{10,}"),
    _row("token", "xapp-", r"xapp-[A-Za-z0-9-]{10,}"),
    _row("token", "hooks.slack.com/", r"(?P<keep>hooks\.slack\.com/[a-z]{1,20}/)[A-Za-z0-9/_-]{16,}"),
    _row("token", "npm_", r"npm_[A-Za-z0-9]{30,}"),
    _row("token", "pypi-", r"pypi-[A-Za-z0-9_-]{32,}"),
    _row("password", "://", r"(?P<keep>://[^\s/:@?#\"'<>\[]{0,256}:)[^\s/?#\"'<>]{1,512}(?=@)"),
    _row(
        "signature",
        "sig= signature= security-token=",
        r"(?P<keep>[?&][a-z-]{0,32}(?:sig|signature|security-token)=)[^\s&\"'<>#\\]{16,}",
        any_case=True,
    ),
    _row(
        "authorization",
        "authorization",
        rf"(?P<keep>(?P<name>authorization)(?P<join>{_JOIN})(?:{_QUOTE})?"
        rf"(?P<scheme>(?:bearer|basic|digest|token|apikey|negotiate)\s{{1,4}})?)(?P<value>{_BARE}{{2,}})",
        any_case=True,
        unless=_not_authorization,
    ),
    _row(
        "authorization",
        "bearer",
        r"(?P<keep>bearer\s{1,4})(?P<value>[a-z0-9._~+/=-]{16,})",
        any_case=True,
        unless=_not_bearer,
    ),
    _row("cookie", "cookie:", r"(?P<keep>cookie:\s{0,4})[\w.-]{1,128}=[^\r\n]+", any_case=True),
    _row(
        "secret",
        "pass pwd secret token credential key",
        rf"(?P<keep>(?P<name>{_TELLING})(?P<join>{_JOIN})(?:(?:\w{{1,24}}\(|[bfru]{{1,2}})?(?P<quote>{_QUOTE}))?)"
        rf"(?P<value>(?(quote)(?:(?!(?P=quote))\\?.)+|{_BARE}+))",
        any_case=True,
        unless=_not_assigned,
    ),
)
