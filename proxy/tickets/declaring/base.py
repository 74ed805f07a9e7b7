"""The part of a declaration that every kind of ticket system has: URL, statuses, limits, events.

A declaration is frozen with each request. Secrets do not belong to it: they stay in the settings
and can be rotated while requests are open.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from proxy.domain.durations import Milliseconds
from proxy.domain.models import Fulfilment, Outcome
from proxy.tickets.declaring.model import DeclarationModel, Text
from proxy.tickets.events.declaration import Events


def web_address(value: str) -> str:
    """Return an http or https URL without its final slash; raises ValueError for anything else."""
    url = URL(value)
    if url.scheme not in {"http", "https"} or not url.host or url.port is None:
        raise ValueError("must be an http or https URL with a host")
    if url.user is not None or url.password is not None or "?" in value or "#" in value:
        raise ValueError("must hold no credential, query or fragment")
    return str(url).rstrip("/")


class Declaration(DeclarationModel):
    """One ticket system under the settings of one kind."""

    kind: str
    """The kind of ticket system (`kinds.KINDS`)."""
    base_url: Annotated[str, AfterValidator(web_address)]
    """The URL below which every call is made."""
    decision: Annotated[dict[Text, Outcome], Field(min_length=1)]
    """Native status to outcome; a status that is not in the map counts as pending."""
    fulfilment: dict[Text, Fulfilment] = Field(default_factory=dict)
    """Native status to the state of the fulfilment."""
    status_case: Literal["exact", "ignore"] = "exact"
    """How upper and lower case count when statuses are compared."""
    deadline: Annotated[Milliseconds, Field(gt=0)] = 10_000
    """The longest time that one operation may take."""
    settle: Annotated[Milliseconds, Field(ge=0)] = 5_000
    """The longest time for which a new ticket may be invisible to the look-up."""
    concurrency: Annotated[int, Field(ge=1)] = 16
    """The number of calls that may be open at once."""
    allowed_fields: tuple[Text, ...] | None = None
    """The fields of a hook call that this system may see; all of them if not set."""
    events: Events | None = None
    """How the system's events prove their origin, if it sends any."""

    @property
    def origin(self) -> str:
        """Scheme, host and port, the only ones to which the credential may be sent."""
        return str(URL(self.base_url).origin())

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """Every native status that has an outcome, and that outcome."""
        return self.decision

    @property
    def names_deciders(self) -> bool:
        """True if tickets say who decided them, which guards need."""
        return True

    @model_validator(mode="after")
    def _statuses_differ(self) -> Self:
        for name, statuses in (("decision", self.decision), ("fulfilment", self.fulfilment)):
            if len({self.status_word(status) for status in statuses}) < len(statuses):
                raise ValueError(f"{name} has a status twice: status_case is {self.status_case}")
        return self

    def status_word(self, native: str) -> str:
        """Return the form in which native statuses are compared."""
        return native.casefold() if self.status_case == "ignore" else native

    def outcome(self, native: str) -> Outcome | None:
        """Return the outcome of a native status; None if the map does not have it."""
        return self._decisions.get(self.status_word(native))

    def fulfilled(self, native: str) -> Fulfilment | None:
        """Return the state of the fulfilment for a native status; None if the map has none."""
        return self._fulfilments.get(self.status_word(native))

    @cached_property
    def _decisions(self) -> dict[str, Outcome]:
        return {self.status_word(status): outcome for status, outcome in self.decision.items()}

    @cached_property
    def _fulfilments(self) -> dict[str, Fulfilment]:
        return {
            self.status_word(status): fulfilment for status, fulfilment in self.fulfilment.items()
        }
