"""The description that we serve: valid, complete, and the same hook as witboost's contract."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate

from proxy.observability.alarms import AlarmRecord
from proxy.web.openapi import description
from tests.support.acting import hold
from tests.web.conftest import OPERATOR_KEY, WITBOOST_KEY, Site, Starts

CONTRACT = Path(__file__).parent.parent / "specs" / "witboost-remote-request-hook.openapi.yaml"


async def _served(site: Site) -> dict[str, Any]:
    answer = await site.call("GET", "/openapi.yaml")
    assert answer.headers["Content-Type"] == "application/yaml"
    served: dict[str, Any] = yaml.safe_load(answer.body)
    return served


def _operations(tree: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (method.upper(), path)
        for path, item in tree["paths"].items()
        for method in (["post"] if "$ref" in item else item)
    }


@pytest.mark.parametrize("path", ["/approval-requests", "/", "/hooks/witboost"])
async def test_routes_served_and_routes_described_are_the_same(
    start: Starts, path: str, built: list[web.Application]
) -> None:
    site = await start(hook_path=path)
    tree = await _served(site)
    validate(tree)
    routes = {
        (route.method, route.resource.canonical)
        for route in built[-1].router.routes()
        if route.resource
    }
    assert routes == _operations(tree)


def test_a_path_with_strange_characters_stays_one_path() -> None:
    path = '/hook: "x" # no comment'
    tree = yaml.safe_load(description(path))
    assert path in tree["paths"]


def _resolved(tree: Any, root: Any) -> Any:
    """Replace every reference by what it names."""
    if isinstance(tree, dict):
        if "$ref" in tree:
            found = root
            for part in tree["$ref"].removeprefix("#/").split("/"):
                found = found[part.replace("~1", "/")]
            return _resolved(found, root)
        return {key: _resolved(value, root) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_resolved(value, root) for value in tree]
    return tree


def _essence(tree: dict[str, Any]) -> Any:
    """What a caller of the hook depends on: no texts, no remarks, no stricter promises of ours."""
    post = _resolved(tree["paths"]["/approval-requests"]["post"], tree)
    body = post["requestBody"]["content"]["application/json"]["schema"]
    answers = {
        code: {kind: _types(content["schema"]) for kind, content in answer["content"].items()}
        for code, answer in post["responses"].items()
    }
    parameters = [(p["name"], p["in"], p["required"], p["schema"]) for p in post["parameters"]]
    return post["operationId"], parameters, _types(body), body["required"], answers


def _types(schema: dict[str, Any]) -> Any:
    inner = {name: _types(part) for name, part in schema.get("properties", {}).items()}
    for ours in ("correlationId", "statusUrl"):  # free-form by contract, so we may add
        inner.pop(ours, None)
    items = _types(schema["items"]) if "items" in schema else None
    return schema.get("type"), schema.get("additionalProperties"), inner, items


async def test_the_hook_is_described_as_the_contract_has_it(site: Site) -> None:
    contract = yaml.safe_load(CONTRACT.read_text())
    served = await _served(site)
    assert _essence(served) == _essence(contract)
    schemes = served["components"]["securitySchemes"]
    wanted = contract["components"]["securitySchemes"]["apiKey"]
    assert {key: schemes["apiKey"][key] for key in ("type", "in", "name")} == {
        key: wanted[key] for key in ("type", "in", "name")
    }


def _schema(tree: dict[str, Any], path: str, method: str, status: int, kind: str) -> Any:
    answers = tree["paths"][path][method]["responses"]
    return _resolved(answers[str(status)]["content"][kind]["schema"], tree)


async def test_answers_are_as_described(site: Site) -> None:
    tree = _resolved(await _served(site), await _served(site))

    def check(path: str, method: str, status: int, body: Any, kind: str = "json") -> None:
        schema = _schema(tree, path, method, status, f"application/{kind}")
        OAS30Validator(schema, format_checker=OAS30Validator.FORMAT_CHECKER).validate(body)

    taken = await site.submit()
    check("/approval-requests", "post", 202, taken.json)
    check("/approval-requests", "post", 400, (await site.submit(body=b"")).json, "problem+json")
    check("/approval-requests", "post", 401, (await site.submit(key="")).json, "problem+json")
    await hold(site.store, taken.taken, in_doubt=True)
    path = "/approval-requests/{correlationId}"
    shown = await site.call("GET", f"/approval-requests/{taken.taken}", key=WITBOOST_KEY)
    check(path, "get", 200, shown.json)
    path = "/api/requests/{correlationId}"
    full = await site.call("GET", f"/api/requests/{taken.taken}", key=OPERATOR_KEY)
    check(path, "get", 200, full.json)
    undescribed = set(full.json) - _names(_schema(tree, path, "get", 200, "application/json"))
    assert not undescribed
    await site.board.write([AlarmRecord(1, "request_held", "Look.", taken.taken, "desk")])
    for path in ("/api/requests?limit=1&details=true", "/api/status", "/api/alarms"):
        answer = await site.call("GET", path, key=OPERATOR_KEY)
        check(path.partition("?")[0], "get", 200, answer.json)
    check("/readyz", "get", 200, (await site.call("GET", "/readyz")).json)


def _names(schema: dict[str, Any]) -> set[str]:
    return set(schema["properties"])


def _references(tree: Any) -> set[str]:
    """Return every name that a tree refers to."""
    if isinstance(tree, list):
        return set().union(*map(_references, tree))
    if not isinstance(tree, dict):
        return set()
    own = {tree["$ref"]} if isinstance(tree.get("$ref"), str) else set()
    return own.union(*map(_references, tree.values()))


async def test_every_component_is_used(site: Site) -> None:
    tree = await _served(site)
    kinds = tree["components"].keys() - {"securitySchemes"}
    described = {
        f"#/components/{kind}/{name}" for kind in kinds for name in tree["components"][kind]
    }
    assert described == _references(tree)
