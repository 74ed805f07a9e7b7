"""What every kind of ticket system declares: where it is, what its statuses mean, its events.

A declaration is frozen with each request. Secrets are no part of it: they stay in the settings and
can be rotated under open requests.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from proxy.domain.durations import Milliseconds
from proxy.domain.models import Fulfilment, Outcome
from proxy.tickets.declaring.calls import DeclarationModel, Text
from proxy.tickets.events.declaration import Events


def web_address(value: str) -> str:
    """Return an address of the web without a slash at its end; raises ValueError."""
    url = URL(value)
    if url.scheme not in {"http", "https"} or not url.host or url.port is None:
        raise ValueError("must be an http or https URL with a host")
    if url.user is not None or url.password is not None or "?" in value or "#" in value:
        raise ValueError("must hold no credential, query or fragment")
    return str(url).rstrip("/")


class Declaration(DeclarationModel):
    """One ticket system: where it is, how long it takes, what its native statuses mean.

    `decision` and `fulfilment` map native statuses; a status in neither has no outcome, which the
    flow takes for pending. `settle` is the longest time that a created ticket may stay invisible
    to `find`. `allowed_fields` are the fields of a hook call that this system may see, if not all.
    """

    kind: str
    base_url: Annotated[str, AfterValidator(web_address)]
    decision: Annotated[dict[Text, Outcome], Field(min_length=1)]
    fulfilment: dict[Text, Fulfilment] = Field(default_factory=dict)
    status_case: Literal["exact", "ignore"] = "exact"
    deadline: Annotated[Milliseconds, Field(gt=0)] = 10_000
    settle: Annotated[Milliseconds, Field(ge=0)] = 5_000
    concurrency: Annotated[int, Field(ge=1)] = 16
    allowed_fields: tuple[Text, ...] | None = None
    events: Events | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port: the only place that the credential of this system may go to."""
        return str(URL(self.base_url).origin())

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """Every native status that means something for the decision."""
        return self.decision

    @property
    def names_deciders(self) -> bool:
        """Whether a ticket says who decided it, so that guards can look at that person."""
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
        """Return what a native status means for the decision; None if the map does not know it."""
        return self._decisions.get(self.status_word(native))

    def fulfilled(self, native: str) -> Fulfilment | None:
        """Return what a native status means for the fulfilment, if anything."""
        return self._fulfilments.get(self.status_word(native))

    @cached_property
    def _decisions(self) -> dict[str, Outcome]:
        return {self.status_word(status): it for status, it in self.decision.items()}

    @cached_property
    def _fulfilments(self) -> dict[str, Fulfilment]:
        return {self.status_word(status): it for status, it in self.fulfilment.items()}
