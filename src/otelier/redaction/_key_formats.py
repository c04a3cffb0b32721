"""Keys that show who made them: by the letters that they begin with, as scanners of repositories publish them.

There are more than a hundred beginnings, and each would cost a search of the text. Nearly all of them end with `_`,
`-` or `.`, so one search for each of these finds them all: what follows has to look like a key, which words joined by
the same characters do not, and only then what stands before is looked up.

See: https://docs.github.com/en/code-security/secret-scanning/introduction/supported-secret-scanning-patterns
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from otelier.redaction._rules import Find

# Keys of models, and of what agents use beside them. Behind `:` stands the least number of characters of the rest, 16
# where none does; `*` says that the rest may have `.`, `+`, `/`, `=` and `~`, `!` that it has letters and digits only,
# which words joined by `_` or `-` do not.
_API_KEYS: Final = (
    "gsk_!20 hf_!20 api_org_!20 r8_!20 fw_!20 jina_!30 e2b_!30 rpa_!30 esecret_!20 pcsk_ lsv2_pt_ lsv2_sk_ pylf_v1_ "
    "sb_secret_ vck_ vercel_blob_rw_ glhf_ lmnr_ salad_cloud_ wandb_v1_ alcht_ bb_live_ sk_!32 sk_live_:10 "
    "sk_test_:10 sk_prod_:10 rk_live_:10 rk_test_:10 rk_prod_:10 pk_live_:10 pk_test_:10 whsec_* ak_live_ "
    "duffel_live_ duffel_test_ rzp_live_:14 rzp_test_:14 sm_aat_ sm_pat_ sm_sat_ nvapi- xai- pplx- csk-!30 tvly- "
    "fc-!32 ctx7sk- GOCSPX- key-!32 pa-:40 NRAK- NRII- NRIQ- NRBR- NRSP- NRJS- xkeysib- xsmtpsib- FLWSECK- "
    "FLWSECK_TEST-:12 bedrock-api-key-* ya29.* AQ.:30 SG.*"
)
# Tokens of services.
_TOKENS: Final = (
    "ghp_ gho_ ghu_ ghs_* ghr_ github_pat_ dop_v1_ doo_v1_ dor_v1_ dckr_pat_ dckr_oat_ sbp_ nfp_ vcp_!20 npm_!30 "
    "ntn_!30 secret_!40 figd_ figu_ figo_ lin_api_ lin_oauth_ phx_:30 pnu_!30 rdme_!40 rubygems_!40 CLOJARS_ bkua_ "
    "CCIPAT_ CCIPRJ_ glc_* glsa_ sgp_ squ_!30 sqp_!30 sqa_!30 shpat_ shpca_ shppa_ shpss_ shippo_live_ shippo_test_ "
    "tfp_:40 pscale_tkn_* pscale_pw_* pscale_oauth_* sntryu_ sntrya_ sntryi_ sntrys_* cfut_ cfat_ cfk_ ddp_!30 ddw_!30 "
    "fo1_:40 fm1r_* fm1a_* fm2_* ops_*100 ramp_tok_ rootly_:40 slk_!40 figp_ aio_!28 syt_:30 "
    "glpat-* gldt- glft- glffct- glimt- glptt- glagent- glcbt- gloas- glrt-* glrtr-* glsoat- glwt- "
    "xoxb-:10 xoxp-:10 xoxa-:10 xoxr-:10 xoxs-:10 xoxo-:10 xoxe-:10 xoxc-:10 xoxd-* xoxe.xoxp- xoxe.xoxb- xapp-:10 "
    "pypi-:32 dnkey- PMAK- PMAT- p8e-!30 pul-!40 fio-u- tskey-api- tskey-auth- tskey-client- tskey-oauth- tskey-scim- "
    "tskey-webhook- sq0atp- sq0csp- CFPAT- HRKU- ico-!32 tk-us-:40 s-s4t2ud- s-s4t2af- AGE-SECRET-KEY- API-!26 A3- "
    "BBDC- BBFF- hvs. hvb. hvr. dp.pt. dp.ct. dp.st.* dp.sa. dp.scim. dp.audit. dt0c01.* dt0s01.* dt0s02.* sl.*60 "
    "pat.*40 sat.*40"
)
_SHORTEST: Final = 16
_SHARP: Final = 5
"""Characters from which on a beginning is looked for within words, too: `xyzglpat-…` is one, `self_hf_…` is not."""

_SEPARATORS: Final = "_-."
_STARTS: Final = {
    # A key goes on for long and has a digit or a capital soon; the groups of a UUID are no beginnings.
    separator: re.compile(
        rf"{re.escape(separator)}(?=[_-]{{0,2}}[A-Za-z0-9][A-Za-z0-9_-]{{9}})(?<![0-9a-f]{{4}}-)(?=[a-z_-]{{0,30}}[A-Z0-9])"
    )
    for separator in _SEPARATORS
}
_BODIES: Final = {
    "!": re.compile(r"[A-Za-z0-9]+(?![A-Za-z0-9_])"),
    ":": re.compile(r"[A-Za-z0-9_-]+"),
    "*": re.compile(r"[A-Za-z0-9_.+/=~-]*[A-Za-z0-9_=-]"),
}
_WORD: Final = re.compile(r"(.+?)(?:([!:*])(\d*))?")
_LEFT: Final = re.compile(r"(?:^|[^A-Za-z0-9_-]|\\[nrt]|%[0-9A-Fa-f]{2}|\\u[0-9a-fA-F]{4})\Z")


@dataclass(frozen=True, slots=True)
class _Rest:
    """Characters behind a beginning."""

    kind: str
    pattern: re.Pattern[str]
    shortest: int


def _read(table: str, kind: str) -> dict[str, _Rest]:
    read: dict[str, _Rest] = {}
    for word in table.split():
        match = _WORD.fullmatch(word)
        if match is not None:
            start, body, shortest = match.groups()
            read[start] = _Rest(kind, _BODIES[body or ":"], int(shortest or _SHORTEST))
    return read


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of which the makers are known, whose beginnings end with one separator."""

    hints: tuple[str, ...]
    """The separator."""
    start: re.Pattern[str]
    """The separator, where a key may follow."""
    beginnings: dict[str, _Rest]
    """Prefix of a key, separator included."""
    any_case: bool = False
    """A beginning is as its maker writes it."""
    ends: tuple[str, ...] = field(init=False)
    """The beginnings, as `str.endswith` takes them."""
    sizes: tuple[int, ...] = field(init=False)
    """Their length."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ends", tuple(self.beginnings))
        object.__setattr__(self, "sizes", tuple(sorted({len(name) for name in self.beginnings}, reverse=True)))

    def find(self, text: str, lowered: str) -> list[Find]:
        """Return the keys in *text*, with what they begin with."""
        finds: list[Find] = []
        done, ends = 0, self.ends
        for match in self.start.finditer(text):
            end = match.end()
            if end <= done:
                continue
            before = text[max(end - _LONGEST, 0) : end]
            if before.endswith(ends):
                found = self._key(text, before, end)
                if found is not None:
                    finds.append(found)
                    done = found[1]
        return finds

    def _key(self, text: str, before: str, end: int) -> Find | None:
        for size in self.sizes:  # the longest beginning is the right one
            name = before[-size:]
            known = self.beginnings.get(name)
            if known is None or len(name) < size:
                continue
            start = end - size
            if size < _SHARP and not _LEFT.search(text[max(start - 6, 0) : start]):
                continue
            body = known.pattern.match(text, end)
            if body is not None and body.end() - end >= known.shortest:
                return start, body.end(), known.kind
        return None


_KNOWN: Final = {**_read(_API_KEYS, "api-key"), **_read(_TOKENS, "token")}
_LONGEST: Final = max(map(len, _KNOWN))
MAKERS: Final = {
    separator: Keys((separator,), start, {name: rest for name, rest in _KNOWN.items() if name.endswith(separator)})
    for separator, start in _STARTS.items()
}
"""One row for each separator."""
