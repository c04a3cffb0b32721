"""Which hosts are inside."""

from __future__ import annotations

import pytest

import otelier
from otelier.baggage import propagated_to, trusts_inbound
from otelier.baggage._policy import Policy
from otelier.errors import SettingError

PATTERNS = ["*.Example.com", "API.partner.org.", "[2001:db8::1]", "169.254.170.2", "bücher.example"]
ALLOWED = """
localhost LOCALHOST. ip6-localhost 127.0.0.1 127.255.255.254 10.1.2.3 172.16.0.1 172.31.255.255 192.168.1.1
::1 [::1] fd00::1 [FD12:3456::1] ::ffff:10.0.0.1 [::ffff:127.0.0.1] 0:0:0:0:0:ffff:c0a8:0101
billing BILLING my_service a-b x1 db.local printer.LOCAL. metadata.google.internal shop.svc a.shop.svc.cluster.local
a.example.com a.b.EXAMPLE.com. api.partner.org API.PARTNER.ORG. 2001:db8::1 [2001:0db8::0001] 169.254.170.2
bücher.example BÜCHER.example billing.local.
"""
REFUSED = """
example.com aexample.com example.com.evil.org x.api.partner.org partner.org evil.example evil.local.com notlocal.com
8.8.8.8 172.15.0.1 172.32.0.1 192.169.0.1 100.64.0.1 0.0.0.0 255.255.255.255 169.254.169.254 192.0.2.1 198.18.0.1
fe80::1 [fe80::1%25eth0] fe80::1%eth0 2001:db8::2 :: ::ffff:8.8.8.8 ::ffff:169.254.169.254 64:ff9b::8.8.8.8
134744072 0 0x08080808 0x7f000001 010.8.8.8 8.8 127.1 1.2.3.4.5 2002:0a00:1:: ñandú xn--a.b
\uff18.\uff18.\uff18.\uff18 \uff11\uff13\uff14 evil\u3002com \uff4c\uff4f\uff43\uff41\uff4c evil\uff0ecom.local
.local local..internal ..local .internal -a a- a/b user@localhost local\\host localhost:80 *.example.com
evil.com%00.local ai. billing.
evil.com/.example.com
"""


@pytest.mark.parametrize("host", ALLOWED.split())
def test_inside(host):
    """Loopback, private addresses, single labels, cluster names and what the application names."""
    assert Policy(PATTERNS).allows(host)


@pytest.mark.parametrize("host", [*REFUSED.split(), "", ".", "a b", "a\nb", "[", "[]"])
def test_outside(host):
    """Everything else, link-local addresses and what only looks like a name inside first of all."""
    assert not Policy(PATTERNS).allows(host)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        " ",
        "*",
        "*.",
        ".",
        "*.*.a",
        "a.*",
        "a*.b",
        "http://a.b",
        "a.b/c",
        "a.b:80",
        "a b",
        "a..b",
        "a@b",
        "[a]",
        7,
        None,
    ],
)
def test_patterns_that_are_no_hosts(pattern):
    """A pattern that is no host is refused by `init`, by name, and nothing is switched on by it."""
    with pytest.raises(SettingError) as caught:
        otelier.init(propagate_to=["fine.example", pattern])
    assert caught.value.setting == "propagate_to"


def test_one_text_is_no_list():
    """A text in place of the list would be read letter by letter."""
    with pytest.raises(SettingError, match="Pass a list"):
        otelier.init(propagate_to="api.example.com")


@pytest.mark.parametrize("variable", ["OTELIER_PROPAGATE_TO=a.b,http://c", "OTELIER_TRUST_INBOUND=perhaps"])
def test_variables_that_cannot_be_read(variable, monkeypatch):
    """The error names the variable."""
    name, _, value = variable.partition("=")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingError) as caught:
        otelier.init()
    assert caught.value.setting == name


def test_an_argument_comes_before_the_environment(monkeypatch):
    """What `init` is given counts, also `False` and an empty list; what it is not given is the environment's."""
    monkeypatch.setenv("OTELIER_TRUST_INBOUND", "true")
    monkeypatch.setenv("OTELIER_PROPAGATE_TO", "a.example")
    otelier.init()
    assert (propagated_to(), trusts_inbound()) == (("a.example",), True)
    otelier.init(propagate_to=[], trust_inbound=False)
    assert (propagated_to(), trusts_inbound()) == ((), False)
    otelier.init()
    assert (propagated_to(), trusts_inbound()) == ((), False)
    otelier.init(propagate_to=["b.example"])
    otelier.init(trust_inbound=True)
    assert (propagated_to(), trusts_inbound()) == (("b.example",), True)
    otelier.shutdown()
    otelier.init()
    assert (propagated_to(), trusts_inbound()) == (("a.example",), True)


@pytest.mark.parametrize("hosts", [7, True])
def test_hosts_must_be_a_list(hosts):
    """What is no list of hosts is refused by the argument's name."""
    with pytest.raises(TypeError, match="propagate_to"):
        otelier.init(propagate_to=hosts)


def test_trust_must_be_a_flag():
    """A text such as "no" would be true."""
    with pytest.raises(TypeError, match="trust_inbound"):
        otelier.init(trust_inbound="no")  # type: ignore[arg-type]
