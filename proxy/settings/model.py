"""The settings as one tree. Every default is safe for production; durations are milliseconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, PrivateAttr, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from typing_extensions import override

from proxy.domain import identities
from proxy.domain.durations import parse_duration
from proxy.domain.routing import FACTS
from proxy.errors import ConfigurationError
from proxy.security.key_ring import read_key
from proxy.security.private_keys import load_key
from proxy.settings.clients import Operators
from proxy.settings.error_text import nearest
from proxy.settings.outbound import Outbound
from proxy.settings.secrets import Secret, SecretUrl
from proxy.settings.serving import Limits, Listen, Logs, Retries, Worker
from proxy.settings.sources import Origins, current_sources
from proxy.settings.ticket_systems import TicketSystem
from proxy.settings.types import Duration, Name, NotEmpty, Section, WebUrl, Word, WordOff
from proxy.settings.witboost import WitboostInstance
from proxy.tickets.declaring.expressions import Expression, roots


def _asks_for_facts(condition: str) -> str:
    for name in roots(condition):
        if name not in FACTS:
            raise ValueError(f"uses {name!r}, which no request has; {nearest(name, FACTS)}")
    return condition


Condition = Annotated[Expression, AfterValidator(_asks_for_facts)]
"""A JMESPath expression over the facts of a request."""


class Store(Section):
    """The store: the server at `redis_url`, or else an embedded one in `folder`."""

    redis_url: SecretUrl | None = None
    """The URL of a Redis server, with a password if need be; null: an embedded server."""
    folder: Word = "./approval-proxy-data"
    """The folder of the embedded server: back it up."""
    fsync: Literal["always", "everysec"] = "always"
    """`always`: accepted requests survive a power failure; `everysec`: a second may be lost."""
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,32}$")] = "ap"
    """The prefix of every key, so that several proxies can share a server."""
    partitions: Annotated[int, Field(ge=1, le=1024)] = 8
    """Partitions of the queue; fixed at the first start, or by `store import`."""
    dangerous: Literal["warn", "refuse"] = "warn"
    """What happens if the server at `redis_url` evicts keys or does not persist them."""
    retention: Duration = parse_duration("90d")
    """How long finished requests can be read."""


def _readable_by(read: Callable[[str], object]) -> AfterValidator:
    """Return what refuses a key that `read` cannot read, as soon as it is known."""

    def check(secret: Secret) -> Secret:
        try:
            if secret.readable:
                read(secret.reveal())
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        return secret

    return AfterValidator(check)


Encrypts = Annotated[Secret, _readable_by(read_key)]
Signs = Annotated[Secret, _readable_by(load_key)]


class EncryptionKey(Section):
    """A key of encrypted values."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    """The id, which is stored with the encrypted text."""
    key: Encrypts
    """32 random bytes in base64: `keys new --encryption` makes them."""


class Encryption(Section):
    """The encryption of secrets and payloads in the store."""

    keys: tuple[EncryptionKey, ...] = ()
    """The first key encrypts, all decrypt; the embedded server has one of its own without any."""
    index_key: Encrypts | None = None
    """The key of the digests by which requests are found; it does not rotate with the others."""


class Audit(Section):
    """The audit: who did what."""

    to: Annotated[Literal["folder", "stdout", "off"], WordOff] = "folder"
    """The destination: files in `folder`, the standard output, or none."""
    folder: Word | None = None
    """The folder of the files; null: `audit` in `store.folder`."""
    every: Duration = parse_duration("1s")
    """The interval at which entries are moved from the store to the files."""
    retention: Duration = parse_duration("400d")
    """The age at which files are removed; not shorter than `store.retention`."""


class Signing(Section):
    """The signatures of audit heads and decision receipts."""

    keys: tuple[Signs, ...] = ()
    """Private keys, PEM or JWK: the first signs, all are published; without any, one is made."""


class Polling(Section):
    """How often a ticket is read: fast at first, then slower, never stopping."""

    first: Duration = parse_duration("1s")
    """The interval before the first read of a ticket."""
    factor: Annotated[float, Field(ge=1, le=10)] = 1.5
    """The factor by which the interval grows after each read."""
    slowest: Duration = parse_duration("5m")
    """The longest interval."""
    safety_net: Duration = parse_duration("6h")
    """The interval where the ticket system lists its changes."""


HoldOr = Literal["hold", "allow"]


class Guards(Section):
    """The guards: approvals that are held until `requests release` or `requests reject`."""

    self_approval: HoldOr = "hold"
    """An approval by the requester, or by somebody who gets the access."""
    unknown_approver: HoldOr = "hold"
    """An approval by somebody who cannot be distinguished from those people."""
    changed_fields: HoldOr = "hold"
    """An approval of a ticket whose key fields changed after it was opened."""
    own_accounts: tuple[Word, ...] = ()
    """Accounts whose approvals are always held, such as that of the proxy."""
    approver_groups: tuple[Word, ...] = ()
    """Groups, for one of which an approver must decide; empty: any approver may."""


class IdentityRule(Section):
    """A spelling of names, and the person that it means."""

    match: Word
    """The spelling with placeholders, such as `CORP-{account}`."""
    email: str = ""
    """The address that it means, with the same placeholders; empty: none."""
    account: str = ""
    """The account that it means, with the same placeholders; empty: none."""

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if problems := self.rule.problems():
            raise ValueError("; ".join(problems))
        return self

    @property
    def rule(self) -> identities.Rule:
        """The rule itself."""
        return identities.Rule(self.match, self.email, self.account)


class Identities(Section):
    """The rules for names of people, so that guards can compare them."""

    domains: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$")], ...] = ()
    """Domains of addresses: `john.doe_company.com` is john.doe@company.com."""
    rules: tuple[IdentityRule, ...] = ()
    """Spellings of names that no domain explains."""
    lookup: dict[str, Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]] = Field(default={})
    """The address of a name that no rule explains."""

    def compiled(self) -> identities.Identities:
        """Return the rules in the form that the guards use."""
        rules = [item.rule for item in self.rules]
        return identities.Identities(self.domains, rules, self.lookup)


class Route(Section):
    """A route: the ticket system that decides, the deadlines, and what follows from them."""

    name: Word
    """The name, which is stored with each request."""
    when: Condition | None = None
    """A JMESPath condition over the facts of a request; null: the route always applies."""
    system: Word | None = None
    """The ticket system that decides; null with `decide`."""
    decide: Literal["approve", "reject", "hold"] | None = None
    """The immediate decision, in place of a ticket; null: `system` decides."""
    reason: Annotated[str, Field(max_length=500)] = ""
    """The reason of an immediate decision."""
    overrides: dict[str, JsonValue] = Field(default={})
    """Parts of the ticket system's declaration that differ, such as the texts of its tickets."""
    decision_deadline: Duration = parse_duration("30d")
    """The time from the hook call to the decision."""
    on_deadline: Literal["reject", "fail", "hold"] = "reject"
    """What happens when `decision_deadline` passes."""
    callback_on: Literal["decision", "fulfilment"] = "decision"
    """The event that is reported to witboost."""
    fulfilment_deadline: Duration = parse_duration("7d")
    """The time from the decision to the fulfilment, with `callback_on: fulfilment`."""
    on_fulfilment_deadline: Literal["hold", "fail"] = "hold"
    """What happens when `fulfilment_deadline` passes."""
    on_refusal: Literal["dead", "fail"] = "dead"
    """The state of a request whose ticket can never be opened."""
    write_back: bool = False
    """`true`: the final status becomes a comment on the ticket."""
    announce: bool = False
    """`true`: a message to witboost names the open ticket; its contract promises no effect."""
    poll: Polling = Polling()
    """The schedule of reads of a ticket."""
    guards: Guards = Guards()
    """The approvals that are held for a person."""


class Settings(BaseSettings):
    """Everything that can be set. `proxy.settings.load` makes it; nothing changes it."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True
    )

    public_url: WebUrl
    """The address at which browsers and witboost reach this program."""
    listen: Listen = Listen()
    """The listeners of the HTTP API."""
    store: Store = Store()
    """The store of requests."""
    encryption: Encryption = Encryption()
    """The encryption of the store."""
    audit: Audit = Audit()
    """The audit."""
    signing: Signing = Signing()
    """The signatures of the audit and of receipts."""
    worker: Worker = Worker()
    """The worker processes."""
    limits: Limits = Limits()
    """The limits of clients."""
    retries: Retries = Retries()
    """How long failures are retried."""
    outbound: Outbound = Outbound()
    """Settings of every outgoing call."""
    witboost: Annotated[dict[Name, WitboostInstance], NotEmpty]
    """The witboost instances by name; no ticket system has the same name."""
    ticket_systems: Annotated[dict[Name, TicketSystem], NotEmpty]
    """The ticket systems by name."""
    routes: Annotated[tuple[Route, ...], NotEmpty]
    """The routes in order: the first whose condition is true applies."""
    identities: Identities = Identities()
    """How names of people are read."""
    operators: Operators = Operators()
    """The operators of the API and the console."""
    logs: Logs = Logs()
    """The log."""

    _origins: Origins = PrivateAttr(default_factory=lambda: current_sources.get().origins)

    @property
    def embedded(self) -> bool:
        """True if the store is an embedded server, which serves one machine only."""
        return self.store.redis_url is None

    @property
    def audit_folder(self) -> Path:
        """The folder of the audit."""
        return Path(self.audit.folder or f"{self.store.folder}/audit")

    @property
    def origins(self) -> Origins:
        """The origin of each value."""
        return self._origins

    @classmethod
    @override
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *_: PydanticBaseSettingsSource, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what `sources.gather` merged, in place of the library's own reading."""
        return (InitSettingsSource(settings_cls, current_sources.get().values),)

    @classmethod
    def read(cls) -> Self:
        """Return the settings that the sources being read make; raises pydantic's error."""
        return cls()
