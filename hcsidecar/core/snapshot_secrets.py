"""Hides secrets in what leaves a machine for support: known values wherever they stand, and what looks like a secret.

Known values are those of the key file, of variables whose names say that they are secret, of the passwords in URLs, and
of the files that hold passwords, tokens and private keys. They are found as they are, in hexadecimal, in base64 and
percent-encoded, also where a long one was cut. A value that a program has encoded in yet another way is not found.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote, unquote

from hcsidecar.core.settings.differences import assigned_secrets, is_secret_name

HIDDEN: Final = "(hidden)"
SHORTEST: Final = 4
"Characters: shorter values are in many words, and are hidden behind their name only."
_WINDOW: Final = 12
"Characters of a long secret by which a piece of it is recognised."
_LONG: Final = 24
"Characters from which on pieces of a secret are recognised."
_EDGE: Final = 6
"Characters of a secret that are recognised at the place where a text was cut."
_LONGEST_BEGINNING: Final = 128
"Characters of a secret that are looked for where a text was cut; of longer ones pieces are found."
_CUT: Final = "…"

_TELLING = r"(?:password|passwd|passphrase|secret|token|credentials?|api[_-]?key|access[_-]?key|private[_-]?key|cookie)"
_LABEL = r"[A-Z0-9 ]{0,40}PRIVATE KEY"
_TELLING_MARKS = ("pass", "secret", "token", "credential", "key", "cookie")
_PATTERNS: Final = (
    (
        ("private key-----",),
        re.compile(rf"-----BEGIN {_LABEL}-----.*?(?:-----END {_LABEL}-----|\Z)", re.DOTALL),
        HIDDEN,
    ),
    (("://",), re.compile(r"(://)[^/\s\"'?#<>]*@"), rf"\1{HIDDEN}@"),
    (
        ("$",),
        re.compile(r"\$(?:argon2[a-z]{0,2}|2[abxy]|[156y]|gy|scrypt|pbkdf2[a-z0-9-]*)\$[^\s:\"']+"),
        HIDDEN,
    ),
    (("eyj",), re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), HIDDEN),
    (
        ("authorization",),
        re.compile(r"(?i)(authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?)[^\r\n\"']+"),
        rf"\1{HIDDEN}",
    ),
    (("bearer",), re.compile(r"(?i)\b(bearer\s{1,3})[A-Za-z0-9._~+/=-]{8,}"), rf"\1{HIDDEN}"),
    (
        _TELLING_MARKS,
        re.compile(
            rf"(?i)({_TELLING}[A-Za-z0-9_]{{0,40}}[\"']?\s{{0,3}}[=:]\s{{0,3}})(?![\"']?\(hidden\))"
            r"(?:\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s,;&\"']+)"
        ),
        rf"\1{HIDDEN}",
    ),
)
"""What looks like a secret: words of which one is in every text that has it, in lower case; the pattern; and what is
put in its place. Most texts have none of the words, which is found out quickly."""
_RUN = re.compile(r"[A-Za-z0-9+/=_-]{12,}")
_HEX = re.compile(r"[0-9A-Fa-f]{32,}")
_USER_OF_URL = re.compile(r"://([^/\s\"'?#<>]*)@")
_SEPARATORS: Final = (":", " ", "-", "\\x")
"Between the bytes of a key that a program writes in hexadecimal."


def secrets_in_key_file(text: str) -> frozenset[str]:
    """Return the secrets in the text of a key file, which need not be valid."""
    return frozenset(_HEX.findall(text))


def secrets_in_farm_file(text: str) -> frozenset[str]:
    """Return the secrets in the text of a farm file, which need not be valid: of variables, and passwords of URLs."""
    return assigned_secrets(text) | secrets_in_urls(text)


def secrets_in_urls(text: str) -> frozenset[str]:
    """Return the passwords of the URLs in a text, and whatever else stands alone before their `@`."""
    found = set()
    for user in _USER_OF_URL.findall(text):
        name, colon, password = user.partition(":")
        secret = password if colon else name
        found |= {secret, unquote(secret)}
    return frozenset(found)


def secrets_in_environment(variables: Mapping[str, str]) -> frozenset[str]:
    """Return the values of variables whose names say that they are secret, and the passwords of URLs in the others."""
    named = {value for name, value in variables.items() if is_secret_name(name)}
    return frozenset(named).union(*(secrets_in_urls(value) for value in variables.values()))


def files_of_secrets(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return the absolute paths of files that variables with secret names name, such as DB_PASSWORD_FILE."""
    return tuple(
        sorted(
            value for name, value in variables.items() if is_secret_name(name) and value.startswith("/") and value[1:]
        )
    )


def secrets_in_private_file(text: str) -> frozenset[str]:
    """Return the secrets in a file that holds nothing else: a password, a token, `name:hash` lines, a private key."""
    found = set()
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith(("#", "-----")):
            continue
        found.add(line)
        _, mark, value = line.partition(":") if ":" in line.partition("=")[0] else line.partition("=")
        if mark and not value.startswith("="):
            found.add(value.strip().strip("\"',"))
    return frozenset(found) | secrets_in_key_file(text)


class Scrubber:
    """Hides these secrets, and what looks like one, in texts and in documents."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({each for each in secrets if len(each) >= SHORTEST}, key=lambda each: (-len(each), each))
        # Paths have pieces that are in other paths.
        self._cuttable = [secret for secret in self._secrets if not secret.startswith("/")]
        self._edges = {
            secret[at : at + _EDGE] for secret in self._cuttable for at in range(max(0, len(secret) - _EDGE + 1))
        }
        self._beginnings = {
            secret[:length]
            for secret in self._cuttable
            for length in range(_EDGE, min(len(secret), _LONGEST_BEGINNING))
        }
        self._longest = max(map(len, self._beginnings), default=0)
        forms = {form for secret in self._secrets for form in _forms(secret)}
        self._forms: dict[str, list[str]] = {}
        for form in forms:
            self._forms.setdefault(form[:SHORTEST], []).append(form)
        self._windows = {
            form[at : at + _WINDOW].lower()
            for form in forms
            if len(form) >= _LONG and not form.startswith("/")
            for at in range(len(form) - _WINDOW + 1)
        }

    def text(self, text: str) -> str:
        """Return a text without secrets. It may be the middle of a longer one, cut at any place."""
        # Most texts have the first characters of no secret in them.
        begun = {text[at : at + SHORTEST] for at in range(len(text) - SHORTEST + 1)} & self._forms.keys()
        for form in sorted(
            (form for start in begun for form in self._forms[start]), key=lambda form: (-len(form), form)
        ):
            text = text.replace(form, HIDDEN)
        lower = text.lower()
        for marks, pattern, instead in _PATTERNS:
            if any(mark in lower for mark in marks):
                text = pattern.sub(instead, text)
        if self._windows:
            text = _RUN.sub(self._hide_pieces, text)
        return self._hide_at_cuts(text)

    def document(self, value: object) -> object:
        """Return JSON data without secrets: in all of its texts, names of keys included."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {
                    self.text(str(key)): HIDDEN if _is_secret(key, inner) else self.document(inner)
                    for key, inner in value.items()
                }
            case list() | tuple():
                return [self.document(inner) for inner in value]
        return value

    def _hide_pieces(self, run: re.Match[str]) -> str:
        """Hide a run of characters that has a piece of a long secret in it."""
        text = run[0].lower()
        has_one = any(text[at : at + _WINDOW] in self._windows for at in range(len(text) - _WINDOW + 1))
        return HIDDEN if has_one else run[0]

    def _hide_at_cuts(self, text: str) -> str:
        """Hide the rest of a secret at the beginning, and the first part of one at the end or before `…`."""
        if text[:_EDGE] in self._edges:
            for secret in self._cuttable:
                lengths = range(len(secret) - 1, _EDGE - 1, -1)
                if length := next((length for length in lengths if text.startswith(secret[-length:])), 0):
                    text = HIDDEN + text[length:]
                    break
        pieces, at = [], 0
        for end in [*(match.start() for match in re.finditer(_CUT, text)), len(text.rstrip("\n"))]:
            if length := self._begun_before(text, end):
                pieces += [text[at : max(at, end - length)], HIDDEN]
                at = end
        return "".join([*pieces, text[at:]])

    def _begun_before(self, text: str, end: int) -> int:
        """Return how many characters before a place are the first part of a secret."""
        if text[max(0, end - _EDGE) : end] not in self._edges:
            return 0
        lengths = range(min(self._longest, end), _EDGE - 1, -1)
        return next((length for length in lengths if text[end - length : end] in self._beginnings), 0)


def _is_secret(key: object, value: object) -> bool:
    named = isinstance(key, str) and re.search(_TELLING, key, re.IGNORECASE) is not None
    return named and isinstance(value, str)


def _forms(secret: str) -> Iterator[str]:
    """Yield the ways in which programs write a value."""
    raw = secret.encode("utf-8", "surrogateescape")
    yield secret
    yield quote(raw, safe="")
    yield secret.replace("\\", "\\\\").replace('"', '\\"')
    if len(raw) > SHORTEST:
        yield from _encoded(raw)
    if _HEX.fullmatch(secret) and len(secret) % 2 == 0:
        yield from _encoded(bytes.fromhex(secret))


def _encoded(raw: bytes) -> Iterator[str]:
    base64 = b64encode(raw).decode("ascii")
    yield from (base64, base64.rstrip("="), base64.translate({43: "-", 47: "_"}).rstrip("="))
    for text in (raw.hex(), raw.hex().upper()):
        yield text
        pairs = [text[at : at + 2] for at in range(0, len(text), 2)]
        yield from (separator.join(pairs) for separator in _SEPARATORS)
        yield " ".join(text[at : at + 4] for at in range(0, len(text), 4))
