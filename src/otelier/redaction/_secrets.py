r"""The table of secrets: what they look like, in texts of every kind.

Left boundaries allow for `\n` and `%20` written out, as JSON and URLs do.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from typing import Final

from otelier.redaction._assignments import (
    ARGUMENT,
    ASSIGNED,
    BARE,
    JOIN,
    QUOTE,
    VALUE,
    VALUE_NAME,
    is_no_authorization,
    is_no_secret,
)
from otelier.redaction._key_formats import MAKERS
from otelier.redaction._key_names import SECRET_NAME, is_harmless, is_other
from otelier.redaction._rules import Group, Row


def _row(
    kind: str,
    hints: str,
    pattern: str,
    *,
    any_case: bool = False,
    unless: Callable[[re.Match[str], str], bool] | None = None,
    before: int = 0,
) -> Row:
    return Row(
        kind=kind,
        hints=tuple(hints.split("|")),
        pattern=re.compile(pattern),
        any_case=any_case,
        unless=unless,
        before=before,
    )


def _at_start(literal: str, of: str = "A-Za-z0-9_-") -> str:
    return (
        rf"{literal}(?:(?<![{of}]{literal})|(?<=\\[nrt]{literal})|(?<=%[0-9A-Fa-f]{{2}}{literal})"
        rf"|(?<=\\u[0-9a-fA-F]{{4}}{literal}))"
    )


def _not_bearer(match: re.Match[str], _: str) -> bool:
    return match["value"].isalpha() and len(match["value"]) < 24  # "a bearer's responsibilities"


def _not_basic(match: re.Match[str], _: str) -> bool:
    value = match["value"]
    try:
        return ":" not in b64decode(value + "=" * (-len(value) % 4)).decode()
    except ValueError:
        return True  # "basic understanding"


def _not_userinfo(match: re.Match[str], _: str) -> bool:
    # A port and a path with an `@`, as in `https://host:8080/a@b`.
    return _PORT.match(match["value"]) is not None or is_harmless("password", match["value"])


def _not_of_tool(match: re.Match[str], _: str) -> bool:
    before = match.string[max(match.start() - 1_000, 0) : match.start()]
    value = match["value"]
    is_url = value.startswith("//")  # -u https://…
    return is_url or not any(tool in before for tool in _TOOLS) or is_harmless("password", value)


def _not_of_client(match: re.Match[str], _: str) -> bool:
    line = match.string[max(match.start() - 200, 0) : match.start()].rpartition("\n")[2]
    known = _CLIENTS_P if match["keep"][1] == "p" else _CLIENTS_A
    return not any(client in line for client in known) or is_harmless("password", match["value"])


def _not_flag(match: re.Match[str], text: str) -> bool:
    value = text[match.start("value") : match.end("value")]
    return value.startswith("-") or value.lower() in _AFTER_FLAG or is_no_secret(match, text)


def _not_a_list(match: re.Match[str], _: str) -> bool:
    left = match.string[max(match.start() - 24, 0) : match.start()]
    return is_other(match["name"], left) or any(word in match["value"] for word in ('type"', 'description"', '$ref"'))


def _not_block(match: re.Match[str], _: str) -> bool:
    start = match.start("name")
    return is_other(match["name"], match.string[max(start - 24, 0) : start]) or is_harmless("secret", match["value"])


def _not_element(match: re.Match[str], _: str) -> bool:
    name, value = match["name"], match["value"].strip()
    return " " in value or is_harmless(name, value) or is_other(name, match["left"])


_NEWLINE: Final = r"(?:\r?\n|(?:\\r)?\\n)"
_PORT: Final = re.compile(r"\d{1,5}(?:[/?#]|\Z)")
_TOOLS: Final = ("curl", "wget", "http")
_CLIENTS_P: Final = ("sshpass", "mongo", " login ", "mysql", "mariadb", "sqlcmd", "smbclient", "ldapsearch")
_CLIENTS_A: Final = ("redis-cli", "http ", "https ", "valkey-cli")
_AFTER_FLAG: Final = frozenset(("and", "or", "is", "to", "for", "option", "flag", "was", "in", "on", "from"))
_END: Final = r"(?![A-Za-z0-9])"
_CAPITALS: Final = (
    # No group at the start of an alternative: the engine would try each character of a text then.
    r"AIza[A-Za-z0-9_-]{30,}|ABSK[A-Za-z0-9+/]{60,}={0,2}|ATATT3[A-Za-z0-9+/=_-]{20,}|ATCTT3[A-Za-z0-9+/=_-]{20,}"
    rf"|ATBB[A-Za-z0-9+/=_-]{{20,}}|AKCp[A-Za-z0-9]{{40,}}{_END}"
    rf"|{_at_start('EAA', 'A-Za-z0-9')}[A-Za-z0-9_-]{{58,}}|EZ[AT]K[A-Za-z0-9]{{54}}{_END}"
    r"|GR1348941[A-Za-z0-9_-]{16,}"
    rf"|LTAI[A-Za-z0-9]{{12,24}}{_END}|{_at_start('SK', 'A-Za-z0-9')}[0-9a-f]{{32}}{_END}"
)
"""Keys without a separator; each begins with one of five capitals, which texts have few of."""

SHORTEST_KEY: Final = 12
"""Characters of the shortest secret that is known by its own form; any other stands behind a `:` or a `=`."""

SECRETS: Final = (
    Group(
        ("-",),
        (
            _row(
                "private-key",
                "private key",
                # A key cut off before its end is redacted to the end of the text.
                r"-----begin [a-z0-9 ]{0,40}private key(?: block)?-----"
                r"[\s\S]*?(?:-----end [a-z0-9 ]{0,40}private key(?: block)?-----|\Z)",
                any_case=True,
            ),
            _row(
                "api-key",
                "sk-",
                # OpenAI, Anthropic, OpenRouter and those who copy their form. Words joined by hyphens are none.
                _at_start("sk-") + r"(?:(?:ant|proj|svcacct|service|admin|or|test|live|lf)-[A-Za-z0-9_-]{6,}"
                r"|[A-Za-z0-9]{16,}[A-Za-z0-9_-]*|(?=[A-Za-z_-]{0,64}[0-9])[A-Za-z0-9_-]{12,})",
            ),
            MAKERS["-"],
            _row("api-key", "-us", r"-us(?<=[0-9a-f]{32}-us)[0-9]{1,2}(?!\w)", before=32),
            _row("token", "v1.0-", r"v1\.0-[0-9a-f]{24}-[0-9a-f]{146}"),
        ),
        re.compile(r"-(?:[a-z0-9_-]{5}|us[0-9])"),
    ),
    Group(
        (".",),
        (
            _row("jwt", "eyJ", _at_start("eyJ") + r"[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+){1,3}\.[A-Za-z0-9_-]*"),
            MAKERS["."],
            _row("token", ".atlasv1.", r"\.atlasv1\.(?<=[A-Za-z0-9]{14}.{9})[A-Za-z0-9_=-]{60,70}", before=14),
            _row("token", ".", r"\.[A-Za-z0-9_-]{6}\.(?<=[MNO][A-Za-z0-9_-]{23}.{8})[A-Za-z0-9_-]{27,38}", before=24),
            _row("token", "pat", r"pat(?<![A-Za-z0-9]pat)[A-Za-z0-9]{14}\.[0-9a-f]{64}"),
        ),
        re.compile(r"\.[a-z0-9_-]{6}"),
    ),
    Group(
        ("_",),
        (
            MAKERS["_"],
            _row("api-key", "_mmk", r"_mmk(?<=[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk)(?!\w)", before=36),
        ),
    ),
    Group(
        ("a", "e", "g", "l", "s"),
        (
            _row("aws-key", "A", _at_start("A(?:KI|SI|BI|CC)A", "A-Za-z0-9") + rf"[A-Z0-9]{{16}}{_END}"),
            _row("api-key", "A|E|G|L|S", _CAPITALS),
            _row("api-key", "dapi", rf"dapi[0-9a-f]{{32}}(?:-[0-9])?{_END}"),
        ),
    ),
    Group(
        ("~", "$"),
        (
            _row("token", "~", r"Q~(?<=[0-9A-Za-z_.~-]{3}[0-9]Q~)[A-Za-z0-9_~.-]{31,34}", before=4),
            _row("token", "~", r"sha256~[A-Za-z0-9_-]{43}"),
            _row("password", "$", r"\$(?:2[abxy]?|5|6|7|y|argon2(?:id|i|d))\$[A-Za-z0-9./=,$+_-]{20,}"),
        ),
    ),
    Group(
        ("/", "@"),
        (
            _row(
                "token",
                "hook",
                r"(?P<keep>(?:hooks\.slack\.com/[a-z]{1,20}/|discord(?:app)?\.com/api/webhooks/[0-9]{1,24}/"
                r"|hooks\.zapier\.com/hooks/[a-z]{1,12}/|\.webhook\.office\.com/webhookb2/))[a-z0-9/@_-]{12,}",
                any_case=True,
            ),
        ),
    ),
    Group(
        ("@",),
        (
            _row(
                "password",
                "://",
                # A password may have an `@` or a `/` in it: where one `@` is not the only one, the last is taken.
                r"(?P<keep>://[^\s/:@?#\"'<>\[]{0,256}:)"
                r"(?P<value>[^\s/?#\"'<>]{1,200}(?=@[^\s\"'<>@?#]{0,200}(?:[\s\"'<>?#]|\Z))"
                r"|[^\s\"'<>]{1,200}(?=@[\w.\[:-]))",
                unless=_not_userinfo,
            ),
            _row("token", "://", r"(?P<keep>://)[A-Za-z0-9_-]{20,200}(?=@)"),
            _row("password", "@tcp(|@unix(", r"(?P<keep>(?<![\w.-])[\w.-]{1,64}:)[^\s@\"'`]{1,200}(?=@(?:tcp|unix)\()"),
            _row("password", ":thin:", r"(?P<keep>:thin:[\w$#]{1,64}/)[^\s@\"']{1,128}(?=@)", any_case=True),
        ),
    ),
    Group(
        ("?", "&"),
        (
            _row(
                "signature",
                "=",
                r"(?P<keep>[?&][a-z-]{0,32}(?:sig|signature|security-token|code|key|auth)=)[^\s&\"'<>#\\]{16,}",
                any_case=True,
            ),
        ),
    ),
    Group(
        ("=",),
        (_row("signature", "signature=", rf"(?P<keep>signature=(?:{QUOTE})?)[a-z0-9+/=%]{{32,}}", any_case=True),),
    ),
    Group(
        (":", "=", "bearer", "asic "),
        (
            _row("token", ":A", r":A(?<=[0-9]{8}:A)[A-Za-z0-9_-]{34}(?![A-Za-z0-9_-])"),
            _row(
                "authorization",
                "authorization",
                rf"(?P<keep>(?P<name>authorization)(?P<join>{ASSIGNED}|{ARGUMENT})(?:{QUOTE})?"
                r"(?P<scheme>(?:bearer|basic|digest|token|apikey|negotiate|aws4-hmac-sha256|hmac|oauth|sso-key|key|bot)"
                rf"\s{{1,4}})?)(?P<value>{BARE}{{2,}}(?:(?<==)[\"'][^\"'\\]{{0,256}}[\"'])?"
                rf"(?:,? ?[a-z]{{2,16}}=(?:{QUOTE})?[^\s\"'`,\\]{{1,512}}(?:{QUOTE})?){{0,12}})",
                any_case=True,
                unless=is_no_authorization,
            ),
            _row(
                "authorization",
                "bearer",
                r"(?P<keep>bearer\s{1,4})(?P<value>[a-z0-9._~+/=-]{16,})",
                any_case=True,
                unless=_not_bearer,
            ),
            _row(
                "authorization",
                "asic ",
                r"(?P<keep>asic )(?P<value>[A-Za-z0-9+/]{8,}={0,2})",
                unless=_not_basic,
            ),
            _row("cookie", "sessi", r"(?P<keep>(?:phpsessid|jsessionid)=)[\w%.-]{16,}", any_case=True),
            _row(
                "cookie",
                "cookie",
                rf"(?P<keep>cookie(?:(?:{QUOTE})\s{{0,4}})?[:=]\s{{0,4}}(?P<quote>{QUOTE})?)"
                r"[\w.-]{1,128}=(?(quote)(?:(?!(?P=quote))\\?.)+|[^\r\n\"'`\\]+)",
                any_case=True,
            ),
        ),
    ),
    Group(
        ("-",),
        (
            _row(
                "secret",
                "-",
                rf"(?P<keep>-(?<![\w-]-)-?[a-z0-9_.-]{{0,48}}?(?P<name>(?:store|key)pass|{SECRET_NAME})"
                rf"(?P<join>=|[ \t]{{1,8}}|{QUOTE}\s{{0,8}},\s{{0,8}}(?={QUOTE}))" + VALUE,
                any_case=True,
                unless=_not_flag,
            ),
            _row(
                "password",
                "-",
                rf"(?P<keep>-[pa](?<=[\t \"'\[,]..)(?:[ =]?(?:{QUOTE})?|{QUOTE}\s?,\s?{QUOTE})"
                r"(?:[\w.-]{1,64}:(?=[^\s:]))?)"
                r"(?P<value>[^\s\"'`\\]{3,256})",
                any_case=True,
                unless=_not_of_client,
            ),
            _row(
                "password",
                "-",
                rf"(?P<keep>-(?<=[\s\"',\[]-)(?:u|-user|-proxy-user)(?:[\s=]|{QUOTE},?\s{{0,4}}){{0,4}}(?:{QUOTE})?"
                r"[^\s:\"'`\\]{1,128}:)(?P<value>[^\s\"'`\\]{1,256})",
                any_case=True,
                unless=_not_of_tool,
            ),
        ),
        re.compile(r"-(?<![\w-]-)-?[a-z]"),
    ),
    Group(
        ("<", "(", "{"),
        (
            _row(
                "secret",
                "</",
                rf"(?P<keep><(?P<left>[\w:.-]{{0,40}}?)(?P<name>{SECRET_NAME})>)(?P<value>[^<>]{{1,512}})(?=</)",
                any_case=True,
                unless=_not_element,
            ),
            _row(
                "secret",
                "value|default|const|content|example",
                # `{"value": …, "name": "DB_PASSWORD"}`; the other way round is below.
                rf"(?P<keep>[\"'`](?:{VALUE_NAME}){QUOTE}\s?:\s?(?P<quote>{QUOTE}))(?P<value>[^\"'`\\\n]{{1,256}})"
                rf"(?={QUOTE}\s?,\s{{0,40}}{QUOTE}(?:name|key){QUOTE}\s?:\s?{QUOTE}(?P<left>[\w.-]{{0,64}}?)"
                rf"(?P<name>{SECRET_NAME}){QUOTE})",
                any_case=True,
                unless=_not_element,
            ),
            _row(
                "password",
                "auth|credential",
                rf"(?P<keep>(?:auth|credentials?)(?:=\(|\()\s{{0,4}}{QUOTE}[^\"'`\n]{{0,128}}{QUOTE},\s{{0,4}}{QUOTE})[^\"'`\n]{{1,256}}",
                any_case=True,
            ),
        ),
    ),
    Group(
        (":", "="),
        (
            _row(
                "secret",
                "phrase|mnemonic",
                rf"(?P<keep>(?:phrase|mnemonic)(?:{QUOTE})?\s{{0,4}}[:=]\s{{0,4}}(?:{QUOTE})?)"
                r"[a-z]{3,8}(?: [a-z]{3,8}){11,23}",
                any_case=True,
            ),
            _row(
                "secret",
                "kennwort|ñ|senha|wachtwoord|passe |п|密|パ|비",
                r"(?P<keep>(?P<name>kennwort|contraseña|senha|wachtwoord|mot de passe|пароль|密码|密碼"
                r"|パスワード|비밀번호)"
                rf"(?P<join>(?:{QUOTE})?\s{{0,8}}[:=]\s{{0,8}})" + VALUE,
                any_case=True,
                unless=is_no_secret,
            ),
        ),
    ),
    Group(
        ("[", "{"),
        (
            _row(
                "secret",
                "s\":|s: |s=|s':",
                # Lists and mappings under a name in the plural.
                rf"(?P<keep>(?P<name>passwords|secrets|tokens|keys|credentials)(?:{QUOTE})?\s?[:=]\s?[\[{{]\s?"
                rf"(?:{QUOTE}[\w.-]{{1,64}}{QUOTE}\s?:\s?[\[{{]\s?){{0,4}})"
                rf"(?P<value>(?:{QUOTE})[^\[\]{{}}]{{1,2000}})(?=[\]}}])",
                any_case=True,
                unless=_not_a_list,
            ),
        ),
    ),
    Group(
        ("key", "pass", "token", "secret", "pw", "cred"),
        (
            _row(
                "secret",
                "\n|\\n",
                # A block of YAML, whole.
                rf"(?P<keep>(?P<name>{SECRET_NAME})(?:{QUOTE})?\s{{0,8}}:[ \t]{{1,8}}(?:!![a-z]{{1,16}}[ \t]{{1,4}})?"
                rf"[|>][0-9+-]{{0,2}}[ \t]{{0,8}}(?:#[^\n\\]{{0,80}})?{_NEWLINE}(?P<indent>[ \t]{{1,32}}))"
                rf"(?P<value>(?:(?!{_NEWLINE}).)+(?:{_NEWLINE}(?P=indent)(?:(?!{_NEWLINE}).)*)*)",
                any_case=True,
                unless=_not_block,
            ),
            _row("password", "login ", r"(?P<keep>login\s{1,4}\S{1,64}\s{1,4}password\s{1,4})\S{1,256}", any_case=True),
            _row(
                "secret",
                "",
                rf"(?P<keep>(?P<name>{SECRET_NAME})(?P<join>{JOIN})" + VALUE,
                any_case=True,
                unless=is_no_secret,
            ),
        ),
    ),
)
"""In the order in which they look: what one found is not looked at by those after it."""
