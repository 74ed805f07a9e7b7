"""jira.js, a client that we did not write, works at the simulated site and believes its answers.

It checks each answer against its own schemas, made from another version of Atlassian's
specifications than the one that prism reads, and throws where they do not match.
"""

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import orjson
import pytest

from proxy.simulators.jira.issues import TEXT_FIELD
from proxy.simulators.jira.responses import ResponseWriter, account
from proxy.simulators.jira.server import REQUEST_TYPE, SERVICE_DESK, Jira
from proxy.simulators.jira.site import rate_limit
from tests.e2e.npm import node_program
from tests.support.adapter_benches import jira_site

pytestmark = pytest.mark.timeout(600)  # the first test may install packages

Call = tuple[str, dict[str, Any]]
"""`surface.group.method`, and its parameters."""

Client = Callable[[Sequence[Call]], Awaitable[list[dict[str, Any]]]]


@pytest.fixture(scope="session")
def program() -> tuple[str, str]:
    return node_program("jira_client.mjs", version=22)


@pytest.fixture
async def site() -> AsyncIterator[Jira]:
    async with jira_site() as site:
        yield site


@pytest.fixture
async def client(program: tuple[str, str], site: Jira) -> Client:
    form = {"grant_type": "client_credentials"}
    proof = {"Authorization": aiohttp.encode_basic_auth("proxy", "s3cret")}
    async with site.client.post(f"{site.url}/oauth/token", data=form, headers=proof) as answer:
        token = (await answer.json())["access_token"]

    async def call(calls: Sequence[Call]) -> list[dict[str, Any]]:
        asked = []
        for name, parameters in calls:
            surface, group, method = name.split(".")
            asked.append(
                {"surface": surface, "group": group, "method": method, "parameters": parameters}
            )
        given = orjson.dumps({"host": site.url, "token": token, "calls": asked})
        child = await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE)
        said, _ = await child.communicate(given)
        assert child.returncode == 0
        answers: list[dict[str, Any]] = orjson.loads(said)
        return answers

    return call


def a_request(**more: Any) -> Call:
    fields = {"summary": "Access", "description": "Why", "labels": ["a"], TEXT_FIELD: "r-1"}
    asked = {"serviceDeskId": SERVICE_DESK, "requestTypeId": REQUEST_TYPE}
    body = {**asked, "requestFieldValues": fields, **more}
    return "desk.request.createCustomerRequest", body


async def test_a_request_lives_its_life(client: Client) -> None:
    ada = account("ada", cloud=True)
    form = {"serviceDeskId": int(SERVICE_DESK), "requestTypeId": int(REQUEST_TYPE)}
    opened, fields, info = await client(
        [
            a_request(raiseOnBehalfOf=ada),
            ("desk.servicedesk.getRequestTypeFields", form),
            ("desk.info.getInfo", {}),
        ]
    )
    assert opened["result"]["reporter"]["accountId"] == ada
    assert [it["fieldId"] for it in fields["result"]["requestTypeFields"]][-1] == TEXT_FIELD
    assert info["result"]["isLicensedForUse"]
    ref = {"issueIdOrKey": opened["result"]["issueId"]}
    answer = ("desk.request.answerApproval", {**ref, "approvalId": 1, "decision": "approve"})
    before, comment, answered, after, read, again = await client(
        [
            ("desk.request.getApprovals", ref),
            ("desk.request.createRequestComment", {**ref, "body": "seen", "public": True}),
            answer,
            ("desk.request.getApprovals", ref),
            ("desk.request.getCustomerRequestByIdOrKey", ref),
            answer,
        ]
    )
    assert [it["finalDecision"] for it in before["result"]["values"]] == ["pending"]
    assert comment["result"]["body"] == "seen"
    assert answered["result"]["finalDecision"] == "approved"
    assert after["result"]["values"][0]["completedDate"]["epochMillis"] > 0
    assert read["result"]["currentStatus"]["status"] == "In progress"
    assert again["error"]["status"] == 409


async def test_an_issue_lives_its_life(client: Client) -> None:
    text = {"type": "text", "text": "Why"}
    document = {"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [text]}]}
    fields = {
        "project": {"key": "ABC"},
        "issuetype": {"name": "Task"},
        "summary": "Access",
        "description": document,
        "labels": ["approval-proxy", "r-1"],
    }
    held = [{"key": "approval-proxy", "value": {"correlation_id": "r-1"}}]
    (opened,) = await client([("cloud.issues.createIssue", {"fields": fields, "properties": held})])
    number = opened["result"]["id"]
    ref = {"issueIdOrKey": number}
    jql = {"jql": 'labels = "r-1" ORDER BY created ASC', "fields": ["labels", "status"]}
    many = {"issueIdsOrKeys": [number, "999999"], "fields": ["status"]}
    found, fetched, moves, kept, me, people, server = await client(
        [
            ("cloud.issueSearch.searchAndReconsileIssuesUsingJqlPost", jql),
            ("cloud.issues.bulkFetchIssues", many),
            ("cloud.issues.getTransitions", ref),
            ("cloud.issueProperties.getIssueProperty", {**ref, "propertyKey": "approval-proxy"}),
            ("cloud.myself.getCurrentUser", {}),
            ("cloud.userSearch.findUsers", {"query": "ada@company.com"}),
            ("cloud.serverInfo.getServerInfo", {}),
        ]
    )
    assert [it["id"] for it in found["result"]["issues"]] == [number]
    assert [it["id"] for it in fetched["result"]["issues"]] == [number]
    assert [it["id"] for it in fetched["result"]["issueErrors"]] == ["999999"]
    assert kept["result"]["value"] == {"correlation_id": "r-1"}
    assert me["result"]["displayName"] == "approval-proxy"
    assert [it["accountId"] for it in people["result"]] == [account("ada", cloud=True)]
    assert server["result"]["deploymentType"] == "Cloud"
    approve = next(it for it in moves["result"]["transitions"] if it["name"] == "Approve")
    moved, comment, read = await client(
        [
            ("cloud.issues.doTransition", {**ref, "transition": {"id": approve["id"]}}),
            ("cloud.issueComments.addComment", {**ref, "body": document}),
            ("cloud.issues.getIssue", {**ref, "fields": ["*all"], "expand": ["changelog"]}),
        ]
    )
    assert moved == {"result": None}
    assert comment["result"]["body"] == document
    assert read["result"]["fields"]["status"]["statusCategory"]["key"] == "indeterminate"
    last = read["result"]["changelog"]["histories"][0]
    assert [it["toString"] for it in last["items"]] == ["In progress"]


async def test_refusals_are_what_the_client_expects(client: Client, site: Jira) -> None:
    site.switch_on(
        rate_limit("find", "jira-burst-based", until="2100-01-01T00:00:00Z", retry_after="9")
    )
    search = "cloud.issueSearch.searchAndReconsileIssuesUsingJqlPost"
    limited, unbounded, missing, unknown = await client(
        [
            (search, {"jql": 'labels = "x"'}),
            (search, {"jql": "ORDER BY created ASC"}),
            ("cloud.issues.getIssue", {"issueIdOrKey": "ABC-9"}),
            a_request(unknown=1, requestFieldValues={"nonsense": "x"}),
        ]
    )
    assert limited["error"]["name"] == "RateLimitError"
    assert limited["error"]["retryAfterMs"] == 9_000
    assert "Unbounded" in unbounded["error"]["message"]
    assert missing["error"]["name"] == "NotFoundError"
    assert unknown["error"]["status"] == 400


async def test_a_wrong_answer_is_noticed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the client does not read just anything."""
    right = ResponseWriter.approval

    def wrong(*shown: Any) -> dict[str, Any]:
        return right(*shown) | {"finalDecision": 7}

    monkeypatch.setattr(ResponseWriter, "approval", wrong)
    opened, read = await client(
        [a_request(), ("desk.request.getApprovals", {"issueIdOrKey": "10001"})]
    )
    assert opened["result"]["issueId"] == "10001"
    assert read["error"]["name"] == "SchemaMismatchError"
