"""Who somebody is: the spellings of witboost and of ticket systems, made comparable. Pure.

witboost writes `user:john.doe_company.com`, with or without the prefix, and means the e-mail
address in which `@` became `_`. Which underscore that was is known only for domains that the
settings name; without them there are several readings. An unknown or ambiguous person is a result
of its own and never a guess: a guard that compares approver and requester must be able to say "I do
not know".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

LONGEST: Final = 256  # characters of a spelling; nobody's name is longer
REMEMBERED: Final = 4_096  # spellings
_PREFIX: Final = re.compile(r"(user|group):(?:[a-z0-9_.-]+/)?(.+)", re.IGNORECASE)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_DOMAIN: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_ACCOUNT: Final = re.compile(r"[^\s@]+")
_PLACE: Final = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True, slots=True)
class Known:
    """One person or group, by what is known: e-mail address or account, folded to lower case."""

    email: str = ""
    account: str = ""
    group: bool = False


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A spelling with several readings: the e-mail addresses that it may mean."""

    candidates: Sequence[str]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A spelling that names nobody whom we could tell from others, and why."""

    reason: str


Identity = Known | Ambiguous | Unknown


@dataclass(frozen=True, slots=True)
class Rule:
    """A spelling with places, such as `CORP-{account}`, and what it means.

    `email` and `account` are written with the places of `match`. A place stands for one or more
    characters that are neither white space nor `@`, `:`, `/`, or a backslash; two places need text
    between them.
    """

    match: str
    email: str = ""
    account: str = ""

    def problems(self) -> list[str]:
        """Return what is wrong with the rule."""
        places = _PLACE.findall(self.match)
        found = []
        if "}{" in self.match:
            found.append("match has two places without text between them")
        if len(set(places)) < len(places):
            found.append("match has a place twice")
        if bool(self.email) == bool(self.account):
            found.append("needs one of email and account")
        unknown = set(_PLACE.findall(self.email + self.account)) - set(places)
        found += [f"{{{name}}} is no place of match" for name in sorted(unknown)]
        return found


@dataclass(frozen=True)
class Identities:
    """The rules: a table first, then rules in order, then domains, then what plainly is an address.

    `lookup` maps spellings to e-mail addresses.
    """

    domains: Sequence[str] = ()
    rules: Sequence[Rule] = ()
    lookup: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        compiled = [(_pattern(rule.match), rule) for rule in self.rules]
        table = {spelling.casefold(): email.casefold() for spelling, email in self.lookup.items()}
        object.__setattr__(self, "_compiled", compiled)
        object.__setattr__(self, "_table", table)
        # the same people ask and approve again and again
        object.__setattr__(self, "_read_before", lru_cache(maxsize=REMEMBERED)(self._read))

    def of(self, spelling: str) -> Identity:
        """Return whom a spelling names."""
        if len(spelling) > LONGEST:
            return Unknown(f"it is longer than {LONGEST} characters")
        known: Identity = self._read_before(spelling)  # type: ignore[attr-defined]
        return known

    def _read(self, spelling: str) -> Identity:
        text = spelling.strip().casefold()
        if not text:
            return Unknown("it is empty")
        prefixed = _PREFIX.fullmatch(text)
        kind, name = prefixed.groups() if prefixed else ("user", text)
        table: Mapping[str, str] = self._table  # type: ignore[attr-defined]
        for key in (text, name):
            if key in table:
                return Known(email=table[key], group=kind == "group")
        found = self._by_rule(text) or self._by_rule(name)
        if kind == "group":
            return replace(found, group=True) if found else Known(account=name, group=True)
        return found or self._plain(name)

    def email_of(self, spelling: str) -> str:
        """Return the address of the one person whom a spelling names; empty where it is unsure."""
        known = self.of(spelling)
        return known.email if isinstance(known, Known) and not known.group else ""

    def same(self, one: str, other: str) -> bool | None:
        """Return whether two spellings name one person; None where that cannot be told.

        Addresses tell people apart, also where only some reading of a spelling is the address of
        the other: better a person looks. Accounts do not: those of two systems may differ and
        belong to one person.
        """
        first, second = self.of(one), self.of(other)
        emails = _emails(first), _emails(second)
        if all(emails):
            return not emails[0].isdisjoint(emails[1])
        alike = isinstance(first, Known) and first == second
        return True if alike or one.strip().casefold() == other.strip().casefold() else None

    def _by_rule(self, text: str) -> Known | None:
        compiled: Sequence[tuple[re.Pattern[str], Rule]] = self._compiled  # type: ignore[attr-defined]
        for pattern, rule in compiled:
            if found := pattern.fullmatch(text):
                given = {place: value.casefold() for place, value in found.groupdict().items()}
                return Known(
                    email=rule.email.format_map(given).casefold(),
                    account=rule.account.format_map(given).casefold(),
                )
        return None

    def _plain(self, name: str) -> Identity:
        if _EMAIL.fullmatch(name):
            return Known(email=name)
        ours = [domain.casefold() for domain in self.domains]
        ours = [domain for domain in ours if name.endswith(f"_{domain}") and name != f"_{domain}"]
        readings = [f"{name[: -len(domain) - 1]}@{domain}" for domain in ours]
        if not readings:
            readings = [
                f"{name[:at]}@{name[at + 1 :]}"
                for at, character in enumerate(name)
                if at and character == "_" and _DOMAIN.fullmatch(name[at + 1 :])
            ]
            if readings:
                return Ambiguous(readings)
        if len(readings) == 1:
            return Known(email=readings[0])
        if readings:
            return Ambiguous(readings)
        if _ACCOUNT.fullmatch(name):
            return Known(account=name)
        return Unknown("a display name is no proof of who it is")


def _emails(identity: Identity) -> frozenset[str]:
    match identity:
        case Known(email=email):
            return frozenset({email} if email else ())
        case Ambiguous(candidates=candidates):
            return frozenset(candidates)
        case Unknown():
            return frozenset()


def _pattern(match: str) -> re.Pattern[str]:
    """Return a pattern that takes linear time: its places cannot share characters with others."""
    parts = _PLACE.split(match.casefold())
    place = r"[^\s@:/\\]+"
    source = "".join(
        f"(?P<{part}>{place})" if at % 2 else re.escape(part) for at, part in enumerate(parts)
    )
    return re.compile(source)
