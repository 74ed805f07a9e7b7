"""The settings as one tree. Every default is safe for production; durations are milliseconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    PrivateAttr,
    model_validator,
)
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
from proxy.settings.clients import Operator
from proxy.settings.error_text import nearest
from proxy.settings.listen import Limits, Listen
from proxy.settings.outbound import Outbound
from proxy.settings.secrets import Secret, SecretUrl
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
    folder: Word = "./approval-proxy-data"
    fsync: Literal["always", "everysec"] = "always"
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,32}$")] = "ap"
    partitions: Annotated[int, Field(ge=1, le=1024)] = 8
    dangerous: Literal["warn", "refuse"] = "warn"
    retention: Duration = parse_duration("90d")


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
    """A key of 32 random bytes in base64, under the id that is stored with the encrypted text."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    key: Encrypts


class Encryption(Section):
    """The encryption of secrets and payloads: the first key encrypts, all decrypt.

    `index_key` makes the digests by which requests are found; it does not rotate with the others.
    """

    keys: tuple[EncryptionKey, ...] = ()
    index_key: Encrypts | None = None


class Audit(Section):
    """The audit; by default its `folder` lies next to that of the store."""

    to: Annotated[Literal["folder", "stdout", "off"], WordOff] = "folder"
    folder: Word | None = None
    every: Duration = parse_duration("1s")
    retention: Duration = parse_duration("400d")


class Signing(Section):
    """The signing of audit heads and decision receipts: the first key signs."""

    keys: tuple[Signs, ...] = ()


class Worker(Section):
    """How much is done at once, and how long a worker may own a request without a sign of life."""

    processes: Annotated[int, Field(ge=0, le=64)] = 1
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 256
    lease: Duration = parse_duration("60s")
    margin: Duration = parse_duration("5s")
    stop_within: Duration = parse_duration("20s")
    changes_every: Duration = parse_duration("30s")


class Retries(Section):
    """How long, or how often, something is tried again before a person must look."""

    callback: Duration = parse_duration("3d")
    refused_callback: Duration = parse_duration("1h")
    create: Duration = parse_duration("3d")
    missing_reads: Annotated[int, Field(ge=1, le=1_000)] = 5


class Polling(Section):
    """How often a ticket is read: fast at first, then slower, never stopping."""

    first: Duration = parse_duration("1s")
    factor: Annotated[float, Field(ge=1, le=10)] = 1.5
    slowest: Duration = parse_duration("5m")
    safety_net: Duration = parse_duration("6h")


HoldOr = Literal["hold", "allow"]


class Guards(Section):
    """The guards: approvals that are held until `requests release` or `requests reject`."""

    self_approval: HoldOr = "hold"
    unknown_approver: HoldOr = "hold"
    changed_fields: HoldOr = "hold"
    own_accounts: tuple[Word, ...] = ()
    approver_groups: tuple[Word, ...] = ()


class IdentityRule(Section):
    """A spelling with places, such as `CORP-{account}`, and what it means."""

    match: Word
    email: str = ""
    account: str = ""

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
    rules: tuple[IdentityRule, ...] = ()
    lookup: dict[str, Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]] = Field(default={})

    def compiled(self) -> identities.Identities:
        """Return the rules in the form that the guards use."""
        rules = [item.rule for item in self.rules]
        return identities.Identities(self.domains, rules, self.lookup)


class Route(Section):
    """A route: the ticket system that decides, the deadlines, and what follows from them.

    The first route whose condition `when` is true applies; one without a condition always does.
    `decide` takes the place of a ticket system. `overrides` replaces parts of the ticket system's
    declaration, such as the texts of its tickets.
    """

    name: Word
    when: Condition | None = None
    system: Word | None = None
    decide: Literal["approve", "reject", "hold"] | None = None
    reason: Annotated[str, Field(max_length=500)] = ""
    overrides: dict[str, JsonValue] = Field(default={})
    decision_deadline: Duration = parse_duration("30d")
    on_deadline: Literal["reject", "fail", "hold"] = "reject"
    callback_on: Literal["decision", "fulfilment"] = "decision"
    fulfilment_deadline: Duration = parse_duration("7d")
    on_fulfilment_deadline: Literal["hold", "fail"] = "hold"
    on_refusal: Literal["dead", "fail"] = "dead"
    write_back: bool = False
    announce: bool = False
    poll: Polling = Polling()
    guards: Guards = Guards()


class Operators(Section):
    """The operators of the API and the console; without clients, nobody is admitted."""

    clients: dict[Name, Operator] = Field(default={})


class Logs(Section):
    """The log: one JSON object per line."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    access: bool = True


class Settings(BaseSettings):
    """Everything that can be set. `proxy.settings.load` makes it; nothing changes it."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True
    )

    public_url: WebUrl
    listen: Listen = Listen()
    store: Store = Store()
    encryption: Encryption = Encryption()
    audit: Audit = Audit()
    signing: Signing = Signing()
    worker: Worker = Worker()
    limits: Limits = Limits()
    retries: Retries = Retries()
    outbound: Outbound = Outbound()
    witboost: Annotated[dict[Name, WitboostInstance], NotEmpty]
    ticket_systems: Annotated[dict[Name, TicketSystem], NotEmpty]
    routes: Annotated[tuple[Route, ...], NotEmpty]
    identities: Identities = Identities()
    operators: Operators = Operators()
    logs: Logs = Logs()

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
