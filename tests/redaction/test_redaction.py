"""Redaction: each kind of secret is found in the forms it comes in, and ordinary text passes unchanged."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from otelier.errors import SettingError
from otelier.faults import run_resets
from otelier.redaction import Later, TooLongError, copied, redact, redact_value, set_redactions

A = "aB3dE6gH9j"  # ten characters as keys have them; put together here so that no scanner takes them for real
HEX = "0123456789abcdef"
JWT = f"eyJ{A}{A}.eyJ{A}{A}.{A}{A}-{A}"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\nMIIE{A}\n{A}==\n-----END RSA PRIVATE KEY-----"

SECRETS = [
    # text, what becomes of it
    (f"sk-{A}{A}", "[REDACTED:api-key]"),
    (f"sk-proj-{A}_{A}-x", "[REDACTED:api-key]"),
    (f"sk-svcacct-{A}", "[REDACTED:api-key]"),
    (f"sk-ant-api03-{A}-{A}AA", "[REDACTED:api-key]"),
    (f"sk-or-v1-{HEX}{HEX}", "[REDACTED:api-key]"),
    (f"key: 'sk-{A}{A}', next", "key: '[REDACTED:api-key]', next"),
    (f"first\\nsk-{A}{A}", "first\\n[REDACTED:api-key]"),
    (f"?k=%20sk-{A}{A}", "?k=%20[REDACTED:api-key]"),
    (f"AIza{A}{A}{A}abcde", "[REDACTED:api-key]"),
    (f"GOCSPX-{A}{A}", "[REDACTED:api-key]"),
    (f"ya29.{A}{A}", "[REDACTED:api-key]"),
    (f"gsk_{A}{A}", "[REDACTED:api-key]"),
    (f"xai-{A}{A}", "[REDACTED:api-key]"),
    (f"hf_{A}{A}{A}", "[REDACTED:api-key]"),
    (f"sk_live_{A}{A}", "[REDACTED:api-key]"),
    (f"rk_live_{A}{A}", "[REDACTED:api-key]"),
    (f"whsec_{A}{A}", "[REDACTED:api-key]"),
    (f"SG.{A}{A}.{A}{A}", "[REDACTED:api-key]"),
    ("AKIA" + "ABCDEFGH23456789", "[REDACTED:aws-key]"),
    ("ASIA" + "ABCDEFGH23456789 expired", "[REDACTED:aws-key] expired"),
    (f"aws_secret_access_key = {A}/{A}+{A}", "aws_secret_access_key = [REDACTED:secret]"),
    (f"ghp_{A}{A}{A}abcdef", "[REDACTED:token]"),
    (f"https://gho_{A}{A}{A}abcdef@github.com/a/b", "https://[REDACTED:token]@github.com/a/b"),
    (f"github_pat_{A}{A}_{A}", "[REDACTED:token]"),
    (f"glpat-{A}{A}", "[REDACTED:token]"),
    (f"xoxb-1234567890-{A}", "[REDACTED:token]"),
    (f"xapp-1-{A}-{A}", "[REDACTED:token]"),
    (f"https://hooks.slack.com/services/T0/B0/{A}{A}", "https://hooks.slack.com/services/[REDACTED:token]"),
    (f"npm_{A}{A}{A}abcdef", "[REDACTED:token]"),
    (f"pypi-{A}{A}{A}{A}", "[REDACTED:token]"),
    (JWT, "[REDACTED:jwt]"),
    (f"cookie={JWT}; a=b", "cookie=[REDACTED:jwt]; a=b"),
    (f"before\n{PEM}\nafter", "before\n[REDACTED:private-key]\nafter"),
    (PEM.replace("\n", "\\n"), "[REDACTED:private-key]"),
    (PEM[:60], "[REDACTED:private-key]"),
    ("postgres://app:hunter2@db:5432/x", "postgres://app:[REDACTED:password]@db:5432/x"),
    ("redis://:p@ss@cache", "redis://:[REDACTED:password]@cache"),
    (f"https://x.blob.net/a?sv=1&sig={A}%2B{A}%3D&se=2", "https://x.blob.net/a?sv=1&sig=[REDACTED:signature]&se=2"),
    (f"Authorization: Bearer {A}", "Authorization: Bearer [REDACTED:authorization]"),
    ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic [REDACTED:authorization]"),
    (f"{{'Authorization': 'token {A}'}}", "{'Authorization': 'token [REDACTED:authorization]'}"),
    (f'"Authorization": "{A}"', '"Authorization": "[REDACTED:authorization]"'),
    (f"Authorization: Bearer {JWT}", "Authorization: Bearer [REDACTED:jwt]"),
    (f"curl -H 'bearer {A}{A}'", "curl -H 'bearer [REDACTED:authorization]'"),
    ("Set-Cookie: sid=abc; Path=/\nHost: a", "Set-Cookie: [REDACTED:cookie]\nHost: a"),
    ("password=hunter2", "password=[REDACTED:secret]"),
    ("Password: hunter2", "Password: [REDACTED:secret]"),
    ("password: correcthorse", "password: [REDACTED:secret]"),
    ("passphrase: correct horse", "passphrase: [REDACTED:secret] horse"),
    ("token=abc&user=bob", "token=[REDACTED:secret]&user=bob"),
    ('{"secret": "s3 cr\\"et", "a": 1}', '{"secret": "[REDACTED:secret]", "a": 1}'),
    (r"{\"password\": \"hunter 2\", \"a\": 1}", r"{\"password\": \"[REDACTED:secret]\", \"a\": 1}"),
    ("api_key: abcdef", "api_key: [REDACTED:secret]"),
    ("API key: abc123", "API key: [REDACTED:secret]"),
    ("OPENAI_API_KEY=abcdef", "OPENAI_API_KEY=[REDACTED:secret]"),
    ("clientSecret='abcdef'", "clientSecret='[REDACTED:secret]'"),
    ("password=SecretStr('abc')", "password=SecretStr('[REDACTED:secret]')"),
    ("AccountKey=ab+c/d==;EndpointSuffix=x", "AccountKey=[REDACTED:secret];EndpointSuffix=x"),
    ("Server=a;Pwd=abc;", "Server=a;Pwd=[REDACTED:secret];"),
    (f"Ocp-Apim-Subscription-Key: {HEX}", "Ocp-Apim-Subscription-Key: [REDACTED:secret]"),
    ("password=ab\\nnext", "password=[REDACTED:secret]\\nnext"),
    ("İ password=hunter2", "İ password=[REDACTED:secret]"),
]

ORDINARY = [
    "",
    "The quick brown fox jumps over the lazy dog.",
    "Forgot your password? Reset your password: click here.",
    "The secret: never give up. Tokens are pieces of text; a token is about four letters.",
    "Authorization: required for all endpoints. He is the bearer of responsibilities.",
    "API key: see the docs",
    "550e8400-e29b-41d4-a716-446655440000",
    "task-550e8400e29b41d4a716446655440000",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "gpt-4.1-mini-2025-04-14 text-embedding-3-small claude-opus-4-1-20250805 o4-mini",
    "risk-averse disk-usage-by-team-2024 sk-fading-circle-delay",
    "risk_test_configurations",
    "chatcmpl-BkXw8f9aLr1mQzT3vNcYp7hG resp_68a1b2c3d4e5f60718293a4b",
    "https://example.com:8080/a@b?c=d&e=f#g",
    "mail bob@example.com, call +49 30 1234567, pay 4111 1111 1111 1111",
    '{"max_tokens": 100, "token": 5, "prompt_tokens": 12, "secret": null, "password": ""}',
    '{"properties": {"password": {"type": "string"}}}',
    "password=getpass() and api_key=os.environ['OPENAI_API_KEY']",
    "PWD=/home/app",
    "a key: value pair, keys, tokenizer: fast, secretary: Jane",
    "cookie recipe: flour, sugar",
    "eyJhbGciOiJIUzI1NiJ9",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
]


@pytest.mark.parametrize(("text", "clean"), SECRETS)
def test_secrets_are_replaced(text, clean):
    """Each kind of secret is replaced where it stands, and what is around it stays."""
    assert redact(text) == clean


@pytest.mark.parametrize(("text", "clean"), SECRETS)
def test_redacting_twice_changes_nothing(text, clean):
    """What passes two gates looks as after one."""
    assert redact(clean) == clean


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_passes_unchanged(text):
    """Prose, ids, hashes, model names and code are no secrets; personal data is not this tier's."""
    assert redact(text) == text
    if "base64," not in text:
        assert redact_value({"content": [text]}) == {"content": [text]}


def test_every_secret_in_a_text_is_found():
    """A text of many kinds loses all of them."""
    text = "\n".join(text for text, _ in SECRETS if "BEGIN" not in text)
    clean = redact(text)
    assert A not in clean
    assert "hunter" not in clean


# --- nested data -----------------------------------------------------------------------------------------------
def test_nested_data_is_redacted_and_keeps_its_shape():
    """Texts at any depth lose their secrets; numbers, flags and `None` pass."""
    value = {"a": [f"sk-{A}{A}", 1, 2.5, True, None, {"b": ("token=abc",)}], 3: "plain"}
    assert redact_value(value) == {
        "a": ["[REDACTED:api-key]", 1, 2.5, True, None, {"b": ["token=[REDACTED:secret]"]}],
        "3": "plain",
    }


@pytest.mark.parametrize(
    "key",
    ["password", "PASSWORD", "db_password", "dbPassword", "api_key", "X-Api-Key", "apiKey", "client_secret", "token",
     "access_token", "Authorization", "auth", "AccountKey", "private_key", "credentials", "Cookie"],
)  # fmt: skip
def test_what_stands_under_a_telling_key_is_replaced(key):
    """A value is a secret by its key's name, in any case and spelling."""
    assert redact_value({key: "correct horse"}) == {key: "[REDACTED:secret]"}
    assert redact_value({key: ["correct", b"horse"]}) == {key: ["[REDACTED:secret]"] * 2}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("token", 5),
        ("password", None),
        ("secret", False),
        ("password", {"type": "string", "description": "At least eight characters"}),
        ("max_tokens", 100),
        ("tokenizer", "o200k"),
        ("author", "Jane"),
        ("key", "value"),
        ("passenger", "Jane"),
        ("PWD", "/home/app"),
    ],
)
def test_what_only_looks_telling_stays(key, value):
    """Counts, flags, schemas and names that merely begin alike are no secrets."""
    assert redact_value({key: value}) == {key: value}


@pytest.mark.parametrize(
    "value",
    [
        {"name": "DB_PASSWORD", "value": "zebra1"},
        {"key": "Authorization", "value": "zebra1"},
        {"value": "zebra1", "name": "apiToken"},
        {"key": "token", "value": {"stringValue": "zebra1"}},
        [["x-api-key", "zebra1"], ["accept", "*/*"]],
        [("Authorization", "zebra1")],
        ["deploy", "--password", "zebra1"],
        ["curl", "-u", "bob:zebra1"],
        {"env": ["PORT=80", "DB_PASSWORD=zebra1"]},
        {"passwords": ["zebra1", "zebra12"]},
        {"api_keys": {"prod": "zebra1"}},
        {"smtpPass": "zebra1", "db-password": "zebra1", "DB_PASS": "zebra1"},
        {"url": "/a?token=zebra1", "cookie": ["sid=zebra1"]},
        {"credentials": {"p": "zebra1"}},
        {"credentials": {"user": {"p": "zebra1"}}},
        {"credentials": {"type": "basic", "description": "of the shop", "p": "zebra1"}},
        {
            "credentials": [{"user": "bob", "pins": ["zebra1", {"b": "zebra2"}]}],
        },
        {"secrets": {"a": {"b": "zebra1"}}},
        {"passwords": {"user": "zebra1"}},
        {"password": [{"v": "zebra1"}]},
        {"password": [[{"v": ["zebra1"]}]]},
        {"token": {"access": "zebra1", "bytes": b"zebra1"}},
        {"db_password": {"sensitive": True, "type": "string", "value": "zebra1"}},
        {"db_password": {"sensitive": True, "type": ["object", {"a": "string"}], "value": {"a": ["zebra1"]}}},
        {"adminPassword": {"type": "string", "defaultValue": "zebra1"}},
        {"secret": {"enum": ["x"], "value": "zebra1", "const": "zebra2"}},
        {"secret": {"type": "string", "default": "zebra1", "example": "zebra2", "examples": ["zebra3", ["zebra4"]]}},
        {"secret": {"type": "string", "data": "zebra1"}},
        {"secret": {"anyOf": [{"type": "string", "default": "zebra1"}, {"type": "null"}]}},
        {"passwords": {"type": "array", "items": {"type": "string", "default": "zebra1"}}},
        {"name": "API_KEY", "default": "zebra1"},
        {"Name": "API_KEY", "Default": "zebra1"},
        {"name": "API_KEY", "example": {"a": "zebra1"}, "examples": ["zebra2"], "content": "zebra3", "type": "string"},
        ["mysql", "-p", "zebra1"],
        ["mysql", "-pzebra1"],
        ["docker", "exec", "db", "/usr/bin/mysqldump", "-u", "root", "-p", "zebra1", "shop"],
        ["docker", "login", "-p", "zebra1"],
        ("redis-cli", "-a", "zebra1"),
    ],
    ids=str,
)
def test_neighbours_tell(value):
    """The name in a pair, the flag before, the name in the plural, an assignment in a list: each tells of a secret."""
    clean = redact_value(value)
    assert "zebra" not in str(clean)
    assert len(clean) == len(value)


@pytest.mark.parametrize(
    "value",
    [
        {"name": "PORT", "value": "80"},
        {"name": "password", "type": "string", "description": "At least eight characters"},
        {"name": "token", "value": None},
        {"required": ["password", "email"]},
        ["deploy", "--max-tokens", "100", "--password"],
        {"tokens": ["The", "cat"], "next_page_token": "abc", "pad_token": "<pad>"},
        {"token": "Hello", "logprob": -0.3, "top_logprobs": [{"token": "Hi", "logprob": -1.5}]},
        {"secrets": {"type": "object", "properties": {}}},
        {"password": "${DB_PASSWORD}"},
        {"phone": "none", "tel": True},
        {"credentials": {"type": "basic", "username": "bob", "expires_at": "2030-01-01", "attempts": 3}},
        {"password": {"type": ["string", "null"], "description": "At least eight characters"}},
        {"passwords": {"bob": {"minLength": 8}}},
        {
            "type": "function",
            "name": "log_in",
            "parameters": {
                "type": "object",
                "required": ["user", "password"],
                "properties": {
                    "user": {"type": "string", "default": "bob"},
                    "password": {"type": "string", "description": "The user's password", "pattern": "^.{8,}$"},
                    "secret": {"anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "null"}], "default": None},
                    "credentials": {
                        "type": "object",
                        "title": "Of the shop",
                        "properties": {"region": {"type": "string", "default": "eu", "enum": ["eu", "us"]}},
                        "required": ["region"],
                    },
                },
            },
        },
        {"token": {"text": "Hello", "logprob": -0.3}},
        {"secret": {"secretName": "db", "version": 3, "active": True}},
        {"password": {"value": "${DB_PASSWORD}"}},
        ["serve", "-p", "8080"],
        ["mkdir", "-p", "a/b"],
        ["curl", "-u", "https://example.com"],
        ["mysql", "-p", "-h", "db"],
    ],
    ids=str,
)
def test_neighbours_that_tell_nothing(value):
    """Schemas, lists of names, tokens of texts and of pages, and references are no secrets."""
    assert redact_value(value, personal=True) == value


def test_personal_data_under_its_name():
    """A number without a form of its own is found by its key, where personal data is asked for."""
    data = {"phone": "2025550143", "ssn": 123456789, "n": "2025550143"}
    assert redact_value(data, personal=True) == {
        "phone": "[REDACTED:phone]",
        "ssn": "[REDACTED:ssn]",
        "n": "2025550143",
    }
    assert redact_value(data) == data


def test_disguised_text_keeps_what_is_around():
    """Full-width and zero-width characters hide nothing, and those of the rest of the text stay."""
    assert (
        redact("a\uff1ab pass\u200bword\uff1dhunter2\u3000c") == "a\uff1ab pass\u200bword\uff1d[REDACTED:secret]\u3000c"
    )


def test_numbers_as_values_under_telling_keys_are_replaced():
    """A number that is called the value of a secret is one; its port and version are none."""
    assert redact_value({"password": {"value": 12345678, "version": 2}}) == {
        "password": {"value": "[REDACTED:secret]", "version": 2}
    }


def test_numbers_under_telling_keys_are_replaced():
    """A password of digits is one."""
    assert redact_value({"password": 12345678}) == {"password": "[REDACTED:secret]"}


def test_secrets_as_keys_are_replaced():
    """A mapping by key shows no key."""
    assert redact_value({f"sk-{A}{A}": 1}) == {"[REDACTED:api-key]": 1}


@pytest.mark.parametrize("around", [lambda data: data, lambda data: {"secrets": data}], ids=["plain", "telling"])
def test_keys_that_come_out_the_same_are_numbered(around):
    """No entry takes another's place."""
    emails = redact_value(around({f"{name}@example.com": name in "bd" for name in "abc"}), personal=True)
    assert emails == around({"[REDACTED:email]": False, "[REDACTED:email] (2)": True, "[REDACTED:email] (3)": False})
    taken = redact_value(around({"1 (3)": None, "1": True, 1: False}))
    assert taken == around({"1 (3)": None, "1": True, "1 (4)": False})


@pytest.mark.parametrize("key", ["passwords", "password", "names"])
@pytest.mark.parametrize("shape", [lambda size: ["a b"] * size, lambda size: {str(n): "a b" for n in range(size)}])
def test_nothing_large_is_walked_beyond_its_room(key, shape):
    """What stands under a telling name ends with its room, too."""
    clean = redact_value({key: shape(10_000)}, max_chars=1_000)[key]
    assert len(clean) < 300
    assert "items" in str(clean)[-20:]


def test_copies_have_a_bound():
    """Of a mapping or a list of millions no more is copied than may be shown, and what is left out is marked."""
    for size in (dict.fromkeys(range(1000), "a"), ["a"] * 1_000):
        kept = copied({"a": size}, 10)["a"]
        assert len(kept) == 9
        assert [*(kept.values() if isinstance(kept, dict) else kept)][-2:] == ["a", "[REDACTED:limit]"]


def test_endless_nesting_ends():
    """Data that holds itself, twice even, is cut instead of never ending."""
    value: dict = {"a": f"sk-{A}{A}"}
    value["again"] = value
    value["token"] = [value]
    clean = str(redact_value(value))
    assert "[REDACTED:limit]" in clean
    assert A not in clean


def test_long_collections_are_looked_at_up_to_a_limit():
    """Beyond a million characters nothing is looked at, so nothing passes."""
    clean = redact_value(["horse"] * 200_000)
    assert (clean[0], clean[-1], len(clean)) == ("horse", "[cut: 75000 items]", 125_001)


def test_other_objects_become_redacted_text():
    """An object of the user's is not passed on as it is."""

    class Config:
        def __str__(self):
            return "Config(password='hunter2')"

    assert redact_value([Config()]) == ["Config(password='[REDACTED:secret]')"]


# --- what users add --------------------------------------------------------------------------------------------
def test_users_add_patterns_and_functions():
    """Patterns, as text or compiled, and functions run after the table, in their order."""
    set_redactions(
        [r"ACME-\d+", re.compile("zebra", re.IGNORECASE), lambda text: text.replace("[REDACTED:custom]", "#")]
    )
    assert redact("ACME-12 Zebra password=x1") == "# # password=[REDACTED:secret]"
    assert redact_value({"a": ["zebra"]}) == {"a": ["#"]}


def test_new_redactions_replace_the_old():
    """Setting again forgets what was set; a reset forgets all."""
    set_redactions(["zebra"])
    set_redactions(["horse"])
    assert redact("zebra horse") == "zebra [REDACTED:custom]"
    run_resets()
    assert redact("zebra horse") == "zebra horse"


@pytest.mark.parametrize("broken", [lambda text: 1 / 0, lambda text: None, lambda text: text.encode()])
def test_a_failing_redactor_never_lets_the_value_through(broken, caplog):
    """A redactor that raises or gives no text costs that value, not the others, and is told once without the value."""
    set_redactions([lambda text: broken(text) if "zebra" in text else text])
    assert redact_value({"a": "zebra 1", "b": "horse", "c": "zebra 2"}) == {
        "a": "[REDACTED:error]",
        "b": "horse",
        "c": "[REDACTED:error]",
    }
    (record,) = caplog.records
    assert "init(redact=…)" in record.getMessage()
    assert "zebra" not in record.getMessage()


class Panic(BaseException):
    """What extensions written in Rust raise when they panic."""


def _raises(error):
    def redactor(text):
        raise error

    return redactor


def test_a_redactor_that_panics_costs_its_value():
    """What is no `Exception` costs the value, too; in another thread than the main one also `SystemExit`."""
    set_redactions([_raises(Panic)])
    assert redact("zebra") == "[REDACTED:error]"
    set_redactions([_raises(SystemExit)])
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(redact, "zebra").result() == "[REDACTED:error]"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_signal_in_a_redactor_ends_the_program(error):
    """A signal's handler raises in the middle of whatever the main thread does, and its program ends."""
    set_redactions([_raises(error)])
    with pytest.raises(error):
        redact("zebra")


@pytest.mark.parametrize("extra", [lambda text: 1 / 0, lambda text: "***", "[a-z_]+"])
def test_a_message_keeps_its_form(extra):
    """Whatever a user's redactor does, roles, kinds and the names of fields stay: without them nobody can read on."""
    set_redactions([extra])
    message = {"role": "user", "parts": [{"type": "tool_call_response", "response": "zebra"}], "finish_reason": "stop"}
    redacted = redact_value([message, {"role": "zebra", "type": "zebra", "name": "user"}])
    assert "zebra" not in str(redacted)
    expected = redact("zebra")
    assert redacted == [
        {**message, "parts": [{"type": "tool_call_response", "response": expected}]},
        {"role": expected, "type": expected, "name": redact("user")},
    ]


@pytest.mark.parametrize("extra", ["zebra", re.compile("zebra"), str.upper, b"zebra"])
def test_a_lone_redactor_is_refused(extra):
    """A text is not taken for a list of characters."""
    with pytest.raises(TypeError, match="must be a list"):
        set_redactions(extra)


def test_redactors_of_another_kind_are_refused():
    """What is neither pattern nor callable is refused with its type; what was set before stays."""
    set_redactions(["zebra"])
    with pytest.raises(TypeError, match="holds int"):
        set_redactions(["horse", 3])
    assert redact("zebra horse") == "[REDACTED:custom] horse"


def test_a_broken_pattern_is_refused():
    """A text that is no regular expression is an error that shows it and helps."""
    with pytest.raises(SettingError, match=re.escape("re.escape")) as caught:
        set_redactions(["("])
    assert caught.value.setting == "redact"


# --- limits ----------------------------------------------------------------------------------------------------
def test_a_huge_text_is_cut_and_says_so():
    """What was not looked at does not leave; the cut falls between words, so no secret is halved."""
    text = "word " * 199_990 + f"sk-{A}{A}{A}{A}{A}{A} " * 3 + "tail " * 1_000
    clean = redact(text)
    assert len(clean) < 1_000_100
    assert re.search(r" \[cut: \d{4} characters\]$", clean)
    assert A not in clean


def test_what_is_no_text_is_no_secret_to_keep(quiet_faults, caplog):
    """A fault inside redaction costs the value, never shows it."""
    assert redact(3) == "[REDACTED:error]"
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "piece",
    ["eyJ", "eyJaaaaaaaa.", "sk-", "sk-aaaaaaa-", "xoxb-", "SG.", "SG.aaaaaaaaaaaaaaaaaaaa.", "://", "://a:", "&aaaa-",
     "://a:b@", "bearer ", "cookie: a", 'password="', "password=x ", "password: x y ", "secret=a(\"", 'secret:\\"',
     "_A1bcdefghijkl", "-a1b2c3d4e5f6", "---", "://a:@@@", "://a:b/", "key='key=\"", "\"key\": \"", "tokens: [\"",
     "--a-a-", "-p a", "curl -u ", "<password>a<", '{"name": "password", ', 'value": "a", "name',
     "phrase: abc ", "a\u200b",
     "\u00a0", "token is 1", "token        ", "signature=", "login a password ", "basic aaaaaaaa",
     "password: |\n  a", "password: |\n  a\n  ", '"password": {"type": "a", ', 'password = {type: "a\\',
     "password: !!a ", '"password": {"enum": ["a", ', "password: &a ", "secret: !a ",
     "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "token:        ", "password\\\\\\\\", "authorization: "],
)  # fmt: skip
@pytest.mark.timeout(30)
def test_no_text_makes_a_pattern_run_away(piece):
    """Hundreds of thousands of near misses are looked at in time that grows with their number only."""
    text = piece * (300_000 // len(piece))
    assert isinstance(
        redact(text, personal=True), str
    )  # a pattern that tries again from each character would take hours


def test_what_is_still_to_be_made_counts_as_what_it_is_made_of():
    """A long text takes its time to parse, also where little comes of it: each one counts whole."""
    later = [Later(len, "a" * 1_000) for _ in range(10)]
    assert redact_value(later, most=10_000) == [1_000] * 10
    with pytest.raises(TooLongError):
        redact_value(later, most=5_000)
