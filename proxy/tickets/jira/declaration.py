"""Jira declaration: the model of a `jira` system in the settings, frozen with each request."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator
from typing_extensions import override

from proxy.domain.durations import Milliseconds
from proxy.domain.models import Outcome
from proxy.tickets.declaring.base import Declaration, web_address
from proxy.tickets.declaring.context import NAMES
from proxy.tickets.declaring.default_text import DESCRIPTION, TITLE
from proxy.tickets.declaring.expressions import Expression
from proxy.tickets.declaring.model import DeclarationModel, HeaderName, Text
from proxy.tickets.declaring.templates import tree_problems
from proxy.tickets.events.declaration import EventAuth, Events

LABELS: Final = "labels"
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,79}$")]
"""The id of a field, such as summary or customfield_10050."""

Number = Annotated[Text, Field(pattern=r"^[0-9]{1,18}$")]
Word = Annotated[Text, Field(min_length=1, max_length=255)]


class CustomerRequest(DeclarationModel):
    """A request of Jira Service Management."""

    service_desk: Number
    """The id of the service desk."""
    request_type: Number
    """The id of the request type."""
    fields: dict[FieldName, JsonValue] = Field(default_factory=dict)
    """The templates of its fields."""


class PlainIssue(DeclarationModel):
    """An issue of Jira."""

    project: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{1,79}$")]
    """The key of the project."""
    type: Word
    """The name or id of the issue type."""
    fields: dict[FieldName, JsonValue] = Field(default_factory=dict)
    """The templates of its fields."""


class Approvals(DeclarationModel):
    """How the approvals of a request combine; one declined approval always declines."""

    combine: Literal["all", "any", "last"] = "all"
    """With `last` only the newest counts, for workflows that ask again after a refusal."""
    steps: Annotated[int, Field(ge=1, le=50)] = 1
    """The number of approvals in the workflow; with fewer, nothing is approved."""


class Start(DeclarationModel):
    """The status to which a new ticket is moved."""

    transition: Word
    """The name or id of the transition."""
    status: Word
    """The name of the status that it leads to."""


class Cancel(DeclarationModel):
    """How a ticket is withdrawn: by a transition, or by declining its approvals."""

    transition: Word | None = None
    """The name or id of the transition."""
    answer: Literal["decline"] | None = None
    """The answer to every approval that our account may answer."""
    fields: dict[FieldName, JsonValue] = Field(default_factory=dict)
    """Fields that are set with the transition, such as a resolution."""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.transition is None) == (self.answer is None):
            raise ValueError("needs one of transition and answer")
        return self


class JiraEvents(Events):
    """Webhooks of an administrator (`auth: jira`, a secret) or of an OAuth2 app (`auth: jwt`).

    Events may come late: Jira delivers some within 15 minutes and tries five times.
    """

    auth: EventAuth
    id_header: HeaderName | None = "X-Atlassian-Webhook-Identifier"
    ticket: Expression | tuple[Expression, ...] = ("issue.id", "issue.key")
    sent_at: Expression | None = "timestamp"
    timestamp_format: Literal["seconds", "milliseconds", "rfc3339"] = "milliseconds"
    tolerance: Annotated[Milliseconds, Field(gt=0)] = 2 * 3_600_000

    @model_validator(mode="before")
    @classmethod
    def _are_jiras(cls, section: Any) -> Any:
        """Use Jira's own signature if `auth` is not set."""
        return {"auth": "jira", **section} if isinstance(section, Mapping) else section


class JiraDeclaration(Declaration):
    """Requests of one type, or issues of one project, at a Jira site."""

    kind: Literal["jira"] = "jira"
    """The kind of ticket system."""
    deployment: Literal["cloud", "data_center"] = "cloud"
    """The product: Atlassian's cloud or a data center."""
    site_url: Annotated[str, AfterValidator(web_address)] | None = None
    """The URL for people, if it differs from `base_url`."""
    request: CustomerRequest | None = None
    """The request that is opened, with Jira Service Management."""
    issue: PlainIssue | None = None
    """The issue that is opened, without it."""
    on_behalf_of_requester: bool = False
    """True to open tickets in the name of the requester, if the site has exactly one such user."""
    correlation_field: FieldName
    """The field that is searched for the correlation id: a text field, or `labels`."""
    mark: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")] = "approval-proxy"
    """The issue property with the second copy of the correlation id, and an additional label."""
    rich_text: tuple[FieldName, ...] = ("description", "environment")
    """The fields with paragraphs."""
    limits: dict[FieldName, Annotated[int, Field(ge=16)]] = Field(
        default={"summary": 255, "description": 32_000}
    )
    """The longest text that a field accepts."""
    key_fields: tuple[FieldName, ...] = ("summary", "description")
    """The fields that must not change between opening and approval."""
    decide_by: Literal["approvals", "status", "resolution"] = "approvals"
    """The source of the native status that `decision` maps."""
    approvals: Approvals = Approvals()
    """How approvals combine, with `decide_by: approvals`."""
    decision: Annotated[dict[Text, Outcome], Field(min_length=1)] = Field(
        default={
            "pending": Outcome.PENDING,
            "approved": Outcome.APPROVED,
            "declined": Outcome.REJECTED,
        }
    )
    closed: dict[Text, Outcome] = Field(default_factory=dict)
    """Status to outcome while the approvals are pending; it can never approve."""
    start: Start | None = None
    """The status to which a new ticket is moved, if any."""
    cancel: Cancel | None = None
    """How a ticket is withdrawn, if it can be."""
    public_comments: bool = True
    """True if requesters see our comments on a request."""
    settle: Annotated[Milliseconds, Field(ge=0)] = 60_000
    overlap: Annotated[Milliseconds, Field(ge=60_000)] = 120_000
    events: JiraEvents | None = None

    @property
    def cloud(self) -> bool:
        """True for a site in Atlassian's cloud."""
        return self.deployment == "cloud"

    @property
    @override
    def outcomes(self) -> Mapping[str, Outcome]:
        more = {
            status: outcome
            for status, outcome in self.closed.items()
            if status not in self.decision
        }
        return {**self.decision, **more}

    def ended(self, native: str) -> Outcome | None:
        """Return the outcome of a status while the approvals are pending; None if it has none."""
        outcomes = {self.status_word(status): outcome for status, outcome in self.closed.items()}
        return outcomes.get(self.status_word(native))

    @property
    def written(self) -> dict[str, JsonValue]:
        """The templates of a new ticket's fields, with our default texts."""
        declared = self.request or self.issue
        return {
            "summary": TITLE,
            "description": DESCRIPTION,
            **(declared.fields if declared else {}),
        }

    @property
    def read_fields(self) -> tuple[str, ...]:
        """The fields of an issue that are read, each once."""
        fields = ("status", "resolution", "created", self.correlation_field)
        return tuple(dict.fromkeys((*fields, *self.key_fields)))

    @model_validator(mode="after")
    def _opens_one_thing(self) -> Self:
        if (self.request is None) == (self.issue is None):
            raise ValueError("needs one of request (Jira Service Management) and issue")
        if self.decide_by == "approvals" and self.issue is not None:
            raise ValueError("decide_by: only a request has approvals; an issue has a status")
        if self.decide_by != "approvals" and "decision" not in self.model_fields_set:
            raise ValueError(f"decision must say what each {self.decide_by} means")
        if self.cancel and self.cancel.answer and self.issue is not None:
            raise ValueError("cancel.answer: only a request has approvals to answer")
        if Outcome.APPROVED in self.closed.values():
            raise ValueError("closed cannot approve: with decide_by: approvals only approvals can")
        if self.closed and self.decide_by != "approvals":
            raise ValueError("closed needs decide_by: approvals; map the status in decision")
        return self

    @model_validator(mode="after")
    def _templates_are_sound(self) -> Self:
        problems = tree_problems(self.written, "fields", NAMES["create"])
        declared = self.request or self.issue
        ours = {"project", "issuetype", *({self.correlation_field} - {LABELS})}
        if declared and (taken := ours & set(declared.fields)):
            problems.append(f"fields.{min(taken)} is written by the proxy itself")
        if self.correlation_field != LABELS and not self.correlation_field.startswith(
            "customfield_"
        ):
            problems.append("correlation_field must be labels or a customfield_...")
        if problems:
            raise ValueError("; ".join(problems))
        return self
