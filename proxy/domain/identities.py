"""Identities: names of people in witboost and in ticket systems, made comparable. Pure.

witboost writes `user:john.doe_company.com`, with or without the prefix, for an e-mail address in
which `@` became `_`. Only for domains that the settings name is it certain which underscore that
was; otherwise there are several readings. An unknown or ambiguous person is a result of its own
and never a guess: a guard that compares approver and requester must be able to say "unknown".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

LONGEST: Final = 256
"""The most characters of a spelling; no name is longer."""
REMEMBERED: Final = 4_096
"""How many spellings are cached."""
_PREFIX: Final = re.compile(r"(user|group):(?:[a-z0-9_.-]+/)?(.+)", re.IGNORECASE)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_DOMAIN: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_ACCOUNT: Final = re.compile(r"[^\s@]+")
_PLACEHOLDER: Final = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True, slots=True)
class Resolved:
    """One person or group, by e-mail address or account, in lower case."""

    email: str = ""
    account: str = ""
    group: bool = False


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A spelling with several readings: the e-mail addresses that it may stand for."""

    candidates: Sequence[str]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A spelling that identifies nobody, and why."""

    reason: str


Identity = Resolved | Ambiguous | Unknown


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern of spellings, such as `CORP-{account}`, and the identity that it stands for.

    `email` and `account` use the placeholders of `match`. A placeholder stands for one or more
    characters other than white space, `@`, `:`, `/` and backslash. Two placeholders need text
    between them.
    """

    match: str
    email: str = ""
    account: str = ""

    def problems(self) -> list[str]:
        """Return what is wrong with the rule."""
        names = _PLACEHOLDER.findall(self.match)
        problems = []
        if "}{" in self.match:
            problems.append("match has two placeholders without text between them")
        if len(set(names)) < len(names):
            problems.append("match has a placeholder twice")
        if bool(self.email) == bool(self.account):
            problems.append("needs exactly one of email and account")
        unknown = set(_PLACEHOLDER.findall(self.email + self.account)) - set(names)
        problems += [f"{{{name}}} is not a placeholder of match" for name in sorted(unknown)]
        return problems


@dataclass(frozen=True)
class Identities:
    """The rules for spellings, in this order: table, rules, domains, plain e-mail addresses.

    `lookup` is the table: it maps spellings to e-mail addresses.
    """

    domains: Sequence[str] = ()
    rules: Sequence[Rule] = ()
    lookup: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        compiled = [(_pattern(rule.match), rule) for rule in self.rules]
        table = {spelling.casefold(): email.casefold() for spelling, email in self.lookup.items()}
        object.__setattr__(self, "_compiled", compiled)
        object.__setattr__(self, "_table", table)
        # the same people ask and approve many times
        object.__setattr__(self, "_cached_read", lru_cache(maxsize=REMEMBERED)(self._read))

    def of(self, spelling: str) -> Identity:
        """Return the identity for which a spelling stands."""
        if len(spelling) > LONGEST:
            return Unknown(f"it is longer than {LONGEST} characters")
        identity: Identity = self._cached_read(spelling)  # type: ignore[attr-defined]
        return identity

    def _read(self, spelling: str) -> Identity:
        text = spelling.strip().casefold()
        if not text:
            return Unknown("it is empty")
        prefixed = _PREFIX.fullmatch(text)
        kind, name = prefixed.groups() if prefixed else ("user", text)
        table: Mapping[str, str] = self._table  # type: ignore[attr-defined]
        for key in (text, name):
            if key in table:
                return Resolved(email=table[key], group=kind == "group")
        identity = self._by_rule(text) or self._by_rule(name)
        if kind == "group":
            return replace(identity, group=True) if identity else Resolved(account=name, group=True)
        return identity or self._plain(name)

    def email_of(self, spelling: str) -> str:
        """Return the e-mail address of the person, or an empty text if it is uncertain."""
        identity = self.of(spelling)
        return identity.email if isinstance(identity, Resolved) and not identity.group else ""

    def same(self, one: str, other: str) -> bool | None:
        """Return True or False if two spellings are certainly one person or two, else None.

        Different e-mail addresses are different people. If one of several readings matches, the
        result is True, so that a person looks. Different accounts prove nothing: one person may
        have different accounts in two systems.
        """
        first, second = self.of(one), self.of(other)
        emails = _emails(first), _emails(second)
        if all(emails):
            return not emails[0].isdisjoint(emails[1])
        alike = isinstance(first, Resolved) and first == second
        return True if alike or one.strip().casefold() == other.strip().casefold() else None

    def _by_rule(self, text: str) -> Resolved | None:
        compiled: Sequence[tuple[re.Pattern[str], Rule]] = self._compiled  # type: ignore[attr-defined]
        for pattern, rule in compiled:
            if match := pattern.fullmatch(text):
                values = {name: value.casefold() for name, value in match.groupdict().items()}
                return Resolved(
                    email=rule.email.format_map(values).casefold(),
                    account=rule.account.format_map(values).casefold(),
                )
        return None

    def _plain(self, name: str) -> Identity:
        if _EMAIL.fullmatch(name):
            return Resolved(email=name)
        suffixes = [f"_{domain.casefold()}" for domain in self.domains]
        readings = [
            f"{name.removesuffix(suffix)}@{suffix[1:]}"
            for suffix in suffixes
            if name.endswith(suffix) and name != suffix
        ]
        if not readings:
            readings = [
                f"{name[:at]}@{name[at + 1 :]}"
                for at, character in enumerate(name)
                if at and character == "_" and _DOMAIN.fullmatch(name[at + 1 :])
            ]
            if readings:
                return Ambiguous(readings)
        if len(readings) == 1:
            return Resolved(email=readings[0])
        if readings:
            return Ambiguous(readings)
        if _ACCOUNT.fullmatch(name):
            return Resolved(account=name)
        return Unknown("a display name does not prove who it is")


def _emails(identity: Identity) -> frozenset[str]:
    match identity:
        case Resolved(email=email):
            return frozenset({email} if email else ())
        case Ambiguous(candidates=candidates):
            return frozenset(candidates)
        case Unknown():
            return frozenset()


def _pattern(match: str) -> re.Pattern[str]:
    """Return a regular expression that takes linear time: no two placeholders can overlap."""
    parts = _PLACEHOLDER.split(match.casefold())
    text = r"[^\s@:/\\]+"
    source = "".join(
        f"(?P<{part}>{text})" if at % 2 else re.escape(part) for at, part in enumerate(parts)
    )
    return re.compile(source)
