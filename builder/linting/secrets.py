r"""What looks like an access token, a key or a password: rules of our own, which know what a release is full of.

Each rule is a pattern and an anchor, a piece that whatever the pattern matches has in it. The anchors are searched for
first, all at once and by Arrow, in a million values a second; patterns only look at what has one. Forms of tokens are
those that their issuers document. A release is full of digests: 64 hexadecimal digits are one, 40 a commit. So keys
that are nothing but hexadecimal digits are told by a word before them, or by a place in which no digest belongs.

The scanners that could be a library here are none: detect-secrets had no release since May 2024, knows neither Google,
Hugging Face nor wandb, and would add a dependency; gitleaks and trufflehog are programs in Go.

    >>> kind_of("use glpat-" + "x1Y2" * 5)
    'GitLab'
    >>> kind_of("commit 0123456789abcdef0123456789abcdef01234567") is None
    True
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A kind of secret. `anchor` is in the dialect of RE2, `pattern` in Python's; a match counts if `counts` says so.

    Where the pattern has a group, the group is the secret. `loose` rules look at what may hold digests only where none
    belongs.
    """

    kind: str
    anchor: str
    pattern: re.Pattern[str]
    counts: Callable[[str], bool] = bool
    loose: bool = False

    def places(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where in a text such secrets begin and end."""
        for match in self.pattern.finditer(text):
            group = match.lastindex or 0
            if self.counts(match[group]):
                yield match.span(group)


def _rule(kind: str, anchor: str, pattern: str, counts: Callable[[str], bool] = bool, loose: bool = False) -> Rule:
    return Rule(kind, anchor, re.compile(pattern, re.ASCII), counts, loose)


def _is_mixed(word: str) -> bool:
    """Return True for what is no word and no number, but letters and digits together."""
    return bool(re.search("[0-9]", word) and re.search("[A-Za-z]", word))


def _is_random(word: str) -> bool:
    """Return True for letters of both cases and digits, as evenly as chance has them."""
    if not re.search("[0-9]", word) or not re.search("[a-z]", word) or not re.search("[A-Z]", word):
        return False
    shares = [count / len(word) for count in Counter(word).values()]
    return -sum(share * math.log2(share) for share in shares) > LEAST_BITS


LEAST_BITS = 4.3
"""Of Shannon entropy a letter: 40 random ones of base64 have 4.8, paths and names in CamelCase less than this."""

GITLAB = "agent|cbt|dt|ffct|ft|imt|oas|pat|ptt|rt|soat"
RULES = (
    _rule("Hugging Face", "hf_|api_org_", r"(?:hf|api_org)_[A-Za-z0-9]{20,}"),
    _rule("GitHub", "gh[opsur]_|github_pat_", r"gh[opsur]_[A-Za-z0-9]{30,}|github_pat_\w{30,}"),
    _rule("GitLab", f"gl(?:{GITLAB})-", rf"\bgl(?:{GITLAB})-[\w.=-]{{20,}}"),
    _rule("AWS", "A[BKS]IA", r"\b(?:ABIA|AKIA|ASIA)[A-Z0-9]{16}"),
    _rule("AWS", "[A-Za-z0-9/+]{40}", r"(?<![\w/+=.-])[A-Za-z0-9/+]{40}(?![\w/+=-])(?!\.\w)", _is_random),
    _rule("Google", "AIza|GOCSPX-|ya29", r"AIza[\w-]{35}|GOCSPX-[\w-]{20,}|\bya29\.[\w-]{20,}"),
    _rule("Azure", "AccountKey|SharedAccessKey", r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40,}"),
    _rule("OpenAI, Anthropic or alike", "sk-", r"\bsk-[\w-]{30,}", _is_mixed),
    _rule("Replicate", "r8_", r"\br8_[A-Za-z0-9]{30,}"),
    _rule("Weights & Biases", "wandb_v", r"wandb_v[0-9]_\w{30,}"),
    _rule(
        "Slack",
        "xox|xapp-|hooks",
        r"xox[a-z]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[\w-]{20,}|hooks\.slack\.com/[a-z]+/T\w+/\w+",
    ),
    _rule("Stripe", "[kr]_(live|test)_|whsec_", r"[prs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/]{24,}"),
    _rule("npm", "npm_", r"\bnpm_[A-Za-z0-9]{30,}"),
    _rule("PyPI", "pypi-", r"\bpypi-(?:AgE[\w-]{16,}|\w{40,})"),
    _rule("Docker", "dckr_", r"dckr_[op]at_[\w-]{20,}"),
    _rule("DigitalOcean", "do[opr]_v", r"\bdo[opr]_v1_[0-9a-f]{64}"),
    _rule("Databricks", "dapi", r"\bdapi[0-9a-f]{32}"),
    _rule("SendGrid", "SG[.]", r"\bSG\.[\w-]{16,}\.[\w-]{16,}"),
    _rule("Telegram", ":AA", r"\b[0-9]{8,10}:AA[\w-]{30,}"),
    _rule("JSON Web Token", "eyJ", r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"),
    _rule("private key", "PRIVATE KEY|SECRET-KEY", r"-----BEGIN [A-Z ]*PRIVATE KEY|AGE-SECRET-KEY-1[A-Z0-9]{20,}"),
    _rule(
        "password in an address", "://", r"(?i)\b[a-z][a-z0-9+.-]*://[^\s/?#@:]*:([^\s/?#@$<{*][^\s/?#@]*)@[^\s/?#@]"
    ),
    _rule(
        "key of hexadecimal digits",
        "[0-9A-Fa-f]{32}",
        r"(?i)(?:wandb|weights.{0,5}biases|civitai|kaggle|key|token|secret|passw(?:or)?d|credential|bearer)\W"
        r"[^\n]{0,60}?(?<![0-9a-f])([0-9a-f]{40}|[0-9a-f]{32})(?![0-9a-f])",
    ),
    _rule(
        "secret with its name",
        "(?i:secret|key|token|passw|credential|bearer)",
        r"(?i)(?:(?:secret|(?:api|access|auth|private|account).?key|token|passw(?:or)?d|credentials?)[\"'`]?\s{0,3}[:=]"
        r"|\bbearer\s)\s{0,3}[\"'`]?([A-Za-z0-9_/+.=-]{20,})",
        _is_mixed,
    ),
    _rule(
        "key of hexadecimal digits",
        "[0-9A-Fa-f]{32}",
        r"(?i)(?<![0-9a-f])(?:[0-9a-f]{40}|[0-9a-f]{32})(?![0-9a-f])",
        _is_mixed,
        loose=True,
    ),
)

DIGEST = "^(sha256:)?[0-9a-f]{64}$"
"""In the dialect of RE2: a value that is nothing but a digest holds no secret."""
ANCHORS = "|".join(dict.fromkeys(f"(?:{rule.anchor})" for rule in RULES))
"""In the dialect of RE2: a text without one of them holds no secret."""


def kind_of(text: str, digests: bool = True) -> str | None:
    """Return the kind of the first secret that a text seems to hold, None where it seems to hold none.

    `digests` is False for a text in which digests and commits have no place.
    """
    return next((rule.kind for rule in _rules(digests) if any(rule.places(text))), None)


def masked(text: str, digests: bool = True) -> str:
    """Return a text with three stars in place of every secret that it seems to hold."""
    hidden = {place for rule in _rules(digests) for start, end in rule.places(text) for place in range(start, end)}
    signs = (sign if place not in hidden else "" if place - 1 in hidden else "***" for place, sign in enumerate(text))
    return "".join(signs) if hidden else text


def _rules(digests: bool) -> Iterator[Rule]:
    return (rule for rule in RULES if not (rule.loose and digests))
