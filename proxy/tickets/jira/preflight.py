"""Jira preflight: compares the declared fields with those of the request type or issue type."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from proxy.errors import ConfigurationError
from proxy.tickets.declaring.sanitize import scalar_text
from proxy.tickets.jira.client import DESK, LONGEST, Site
from proxy.tickets.jira.declaration import CustomerRequest, JiraDeclaration, PlainIssue
from proxy.tickets.json_api import Tree
from proxy.tickets.port import Inspected, Inspection

_OURS: Final = frozenset({"project", "issuetype", "reporter"})
"""Fields that the proxy sets in every issue."""


def preflight_checks(declaration: JiraDeclaration, site: Site) -> Mapping[str, Inspection]:
    """Return the checks of a declaration by their names."""
    if declaration.request is not None:
        return {"request type": partial(_request, declaration, declaration.request, site)}
    assert declaration.issue is not None
    return {"issue type": partial(_issue, declaration, declaration.issue, site)}


async def _request(declared: JiraDeclaration, expected: CustomerRequest, site: Site) -> Inspected:
    """Compare the fields of a request type, and check that we may raise requests for others."""
    path = f"{DESK}/servicedesk/{expected.service_desk}/requesttype/{expected.request_type}/field"
    tree = site.object(await site.call("GET", path), "the request type")
    fields = site.objects(tree, "requestTypeFields", "the request type")
    problems = [*_misfits(declared, fields)]
    if declared.on_behalf_of_requester and tree.get("canRaiseOnBehalfOf") is False:
        problems.append("our account may not raise requests on behalf of others")
    name = f"request type {expected.request_type} of service desk {expected.service_desk}"
    return _judged(site, name, problems, "request.fields")


async def _issue(declared: JiraDeclaration, expected: PlainIssue, site: Site) -> Inspected:
    """Compare the fields of an issue type in its project ("Get create field metadata")."""
    base = f"{site.platform}/issue/createmeta/{expected.project}/issuetypes"
    types = await _page(site, base, "issueTypes")
    names = {_text(issue_type, "id"): _text(issue_type, "name") for issue_type in types}
    ids = [ref for ref, name in names.items() if expected.type in {ref, name}]
    if not ids:
        raise ConfigurationError(
            f"{site.name}: project {expected.project} has no issue type {expected.type!r} that our"
            f" account may create: it has {', '.join(sorted(names.values())) or 'none'}"
        )
    fields = await _page(site, f"{base}/{ids[0]}", "fields")
    name = f"issue type {expected.type} of project {expected.project}"
    return _judged(site, name, [*_misfits(declared, fields)], "issue.fields")


async def _page(site: Site, path: str, name: str) -> Sequence[Tree]:
    """Return the one page of createmeta; a data center calls its items `values`."""
    tree = site.object(await site.call("GET", path, query={"maxResults": "200"}), "createmeta")
    return site.objects(tree, name if site.cloud else "values", "createmeta")


def _misfits(declared: JiraDeclaration, fields: Sequence[Tree]) -> Iterator[str]:
    """Yield written fields that do not exist, and required fields that are not written."""
    names = {_text(field, "fieldId") for field in fields}
    written = {*declared.written, declared.correlation_field}
    yield from (f"it has no field {name}" for name in sorted(written - names))
    for field in fields:
        name = _text(field, "fieldId")
        has_default = field.get("defaultValues") or field.get("hasDefaultValue") is True
        if field.get("required") is True and not has_default and name not in written | _OURS:
            yield f"it requires {name}, which the settings do not give"


def _judged(site: Site, name: str, problems: Sequence[str], setting: str) -> Inspected:
    if problems:
        raise ConfigurationError(
            f"{site.name}: {name}: {'; '.join(problems)}: correct `{setting}`, or its form in Jira"
        )
    return Inspected("it has every field that is written, and requires no other")


def _text(tree: Tree, name: str) -> str:
    return scalar_text(tree.get(name), LONGEST)
