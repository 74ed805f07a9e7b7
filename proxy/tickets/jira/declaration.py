"""The shape of a `jira` declaration: what a person writes, and what is frozen."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator
from typing_extensions import override

from proxy.domain.durations import Milliseconds
from proxy.domain.models import Outcome
from proxy.tickets.declaring.base import Declaration, web_address
from proxy.tickets.declaring.calls import NAMES, DeclarationModel, Text
from proxy.tickets.declaring.default_text import DESCRIPTION, TITLE
from proxy.tickets.declaring.expressions import Expression
from proxy.tickets.declaring.templates import leaves_of, problems_of
from proxy.tickets.events.declaration import EventAuth, Events

LABELS: Final = "labels"
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,79}$")]
"""The id of a field, such as summary or customfield_10050."""

Number = Annotated[Text, Field(pattern=r"^[0-9]{1,18}$")]
Word = Annotated[Text, Field(min_length=1, max_length=255)]


class CustomerRequest(DeclarationModel):
    """A request of Jira Service Management: of which desk and type, and what is in its fields."""

    service_desk: Number
    request_type: Number
    fields: dict[FieldName, JsonValue] = Field(default_factory=dict)


class PlainIssue(DeclarationModel):
    """An issue of Jira: in which project, of which type (its name or id), and its fields."""

    project: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{1,79}$")]
    type: Word
    fields: dict[FieldName, JsonValue] = Field(default_factory=dict)


class Approvals(DeclarationModel):
    """How the approvals of a request combine; one that was declined always declines.

    `steps` is how many approvals the workflow has: before all are there, nothing is approved.
    With `last` only the newest counts, for workflows that ask again after a refusal.
    """

    combine: Literal["all", "any", "last"] = "all"
    steps: Annotated[int, Field(ge=1, le=50)] = 1


class Start(DeclarationModel):
    """The transition (its name or id) that a new ticket takes, and the status it leads to."""

    transition: Word
    status: Word


class Cancel(DeclarationModel):
    """How a ticket is withdrawn: by a transition (its name or id), or by declining its approvals.

    `fields` are written with the transition, such as a resolution.
    """

    transition: Word | None = None
    answer: Literal["decline"] | None = None
    fields: dict[FieldName, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.transition is None) == (self.answer is None):
            raise ValueError("needs one of transition and answer")
        return self


class JiraEvents(Events):
    """Webhooks: of an administrator (`auth: jira`, a secret) or of an OAuth2 app (`auth: jwt`).

    An event may come late: Jira delivers some within 15 minutes and tries five times.
    """

    auth: EventAuth
    id_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] | None = (
        "X-Atlassian-Webhook-Identifier"
    )
    ticket: Expression | tuple[Expression, ...] = ("issue.id", "issue.key")
    sent_at: Expression | None = "timestamp"
    timestamp_format: Literal["seconds", "milliseconds", "rfc3339"] = "milliseconds"
    tolerance: Annotated[Milliseconds, Field(gt=0)] = 2 * 3_600_000

    @model_validator(mode="before")
    @classmethod
    def _are_jiras(cls, given: Any) -> Any:
        """Take Jira's own signature where nothing else is said."""
        return {"auth": "jira", **given} if isinstance(given, Mapping) else given


class JiraDeclaration(Declaration):
    """Requests of one type, or issues of one project, at a Jira site.

    `correlation_field` is searched for our correlation id: a text field, or the labels. `mark` is
    the property that holds it a second time, and a label beside it. `closed` says what a status
    means while the approvals say nothing; `rich_text` names fields with paragraphs.
    """

    kind: Literal["jira"] = "jira"
    deployment: Literal["cloud", "data_center"] = "cloud"
    site_url: Annotated[str, AfterValidator(web_address)] | None = None
    request: CustomerRequest | None = None
    issue: PlainIssue | None = None
    on_behalf_of_requester: bool = False
    correlation_field: FieldName
    mark: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")] = "approval-proxy"
    rich_text: tuple[FieldName, ...] = ("description", "environment")
    limits: dict[FieldName, Annotated[int, Field(ge=16)]] = Field(
        default={"summary": 255, "description": 32_000}
    )
    key_fields: tuple[FieldName, ...] = ("summary", "description")
    decide_by: Literal["approvals", "status", "resolution"] = "approvals"
    approvals: Approvals = Approvals()
    decision: Annotated[dict[Text, Outcome], Field(min_length=1)] = Field(
        default={
            "pending": Outcome.PENDING,
            "approved": Outcome.APPROVED,
            "declined": Outcome.REJECTED,
        }
    )
    closed: dict[Text, Outcome] = Field(default_factory=dict)
    start: Start | None = None
    cancel: Cancel | None = None
    public_comments: bool = True
    settle: Annotated[Milliseconds, Field(ge=0)] = 60_000
    overlap: Annotated[Milliseconds, Field(ge=60_000)] = 120_000
    events: JiraEvents | None = None

    @property
    def cloud(self) -> bool:
        """Whether Atlassian runs the site."""
        return self.deployment == "cloud"

    @property
    @override
    def outcomes(self) -> Mapping[str, Outcome]:
        more = {status: it for status, it in self.closed.items() if status not in self.decision}
        return {**self.decision, **more}

    def ended(self, native: str) -> Outcome | None:
        """Return what a status means while the approvals say nothing; None if nothing."""
        known = {self.status_word(status): it for status, it in self.closed.items()}
        return known.get(self.status_word(native))

    @property
    def written(self) -> dict[str, JsonValue]:
        """The templates of a new ticket's fields, with our words where the settings have none."""
        declared = self.request or self.issue
        return {
            "summary": TITLE,
            "description": DESCRIPTION,
            **(declared.fields if declared else {}),
        }

    @property
    def read_fields(self) -> tuple[str, ...]:
        """The fields of an issue that are read, each once."""
        told = ("status", "resolution", "created", self.correlation_field)
        return tuple(dict.fromkeys((*told, *self.key_fields)))

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
            raise ValueError("closed cannot approve: with decide_by: approvals only they do")
        if self.closed and self.decide_by != "approvals":
            raise ValueError("closed needs decide_by: approvals; map the status in decision")
        return self

    @model_validator(mode="after")
    def _templates_are_sound(self) -> Self:
        problems = [
            f"fields.{place} {problem}"
            for place, source in self._templates()
            for problem in problems_of(source, NAMES["create"])
        ]
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

    def _templates(self) -> Iterator[tuple[str, str]]:
        for path, leaf in leaves_of(self.written):
            if isinstance(leaf, str):
                yield path, leaf
