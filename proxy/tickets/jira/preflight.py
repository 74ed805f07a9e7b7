"""What a Jira site shows of itself before anything is opened: the fields of a request or issue."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from proxy.errors import ConfigurationError
from proxy.tickets.declaring.sanitize import scalar_text
from proxy.tickets.jira.client import DESK, LONGEST, Site, Tree
from proxy.tickets.jira.declaration import CustomerRequest, JiraDeclaration, PlainIssue
from proxy.tickets.port import Inspected, Inspection

_OURS: Final = frozenset({"project", "issuetype", "reporter"})
"""What an issue has beside its fields, whether the settings name it or not."""


def preflight_checks(declaration: JiraDeclaration, site: Site) -> Mapping[str, Inspection]:
    """Return what can be asked about a declaration."""
    if declaration.request is not None:
        return {"request type": partial(_request, declaration, declaration.request, site)}
    assert declaration.issue is not None
    return {"issue type": partial(_issue, declaration, declaration.issue, site)}


async def _request(declared: JiraDeclaration, wanted: CustomerRequest, site: Site) -> Inspected:
    """Compare a request type's fields, and whether we may ask in somebody's name."""
    path = f"{DESK}/servicedesk/{wanted.service_desk}/requesttype/{wanted.request_type}/field"
    tree = site.object(await site.call("GET", path), "the request type")
    fields = site.objects(tree, "requestTypeFields", "the request type")
    problems = [*_misfits(declared, fields)]
    if declared.on_behalf_of_requester and tree.get("canRaiseOnBehalfOf") is False:
        problems.append("our account may not raise requests on behalf of others")
    name = f"request type {wanted.request_type} of service desk {wanted.service_desk}"
    return _judged(site, name, problems, "request.fields")


async def _issue(declared: JiraDeclaration, wanted: PlainIssue, site: Site) -> Inspected:
    """Compare the fields of an issue type in its project ("Get create field metadata")."""
    base = f"{site.platform}/issue/createmeta/{wanted.project}/issuetypes"
    types = await _page(site, base, "issueTypes")
    known = {_text(each, "id"): _text(each, "name") for each in types}
    found = [ref for ref, name in known.items() if wanted.type in {ref, name}]
    if not found:
        raise ConfigurationError(
            f"{site.name}: project {wanted.project} has no issue type {wanted.type!r} that our"
            f" account may create: it has {', '.join(sorted(known.values())) or 'none'}"
        )
    fields = await _page(site, f"{base}/{found[0]}", "fields")
    name = f"issue type {wanted.type} of project {wanted.project}"
    return _judged(site, name, [*_misfits(declared, fields)], "issue.fields")


async def _page(site: Site, path: str, name: str) -> Sequence[Tree]:
    """Return the one page that there is; a data center calls its items `values`."""
    tree = site.object(await site.call("GET", path, query={"maxResults": "200"}), "createmeta")
    return site.objects(tree, name if site.cloud else "values", "createmeta")


def _misfits(declared: JiraDeclaration, fields: Sequence[Tree]) -> Iterator[str]:
    """Yield the fields that are written and not there, and those that are required and missing."""
    names = {_text(field, "fieldId") for field in fields}
    written = {*declared.written, declared.correlation_field}
    yield from (f"it has no field {name}" for name in sorted(written - names))
    for field in fields:
        name = _text(field, "fieldId")
        given = field.get("defaultValues") or field.get("hasDefaultValue") is True
        if field.get("required") is True and not given and name not in written | _OURS:
            yield f"it requires {name}, which the settings do not give"


def _judged(site: Site, name: str, problems: Sequence[str], setting: str) -> Inspected:
    if problems:
        raise ConfigurationError(
            f"{site.name}: {name}: {'; '.join(problems)}: correct `{setting}`, or its form in Jira"
        )
    return Inspected("it has every field that is written, and requires no other")


def _text(tree: Tree, name: str) -> str:
    return scalar_text(tree.get(name), LONGEST)
