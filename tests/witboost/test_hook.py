import hashlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from proxy.domain.models import Verb
from proxy.errors import InvalidRequestError
from proxy.witboost.hook_call import HookCall, approval_request, read_hook_call

URL = "http://my-instance.witboost.com/api/actionHandler/123456"
REQUEST_ID = "0b0e4a52-62f6-4e08-8f22-0a6e1c63a1d1"
HEADERS = CIMultiDict({"x-request-id": REQUEST_ID, "content-type": "application/json"})
FIELDS = {"identities": ["john.doe_company.com"], "verb": "grant", "motivation": "because"}


def body(fields: Any = FIELDS, **more: Any) -> bytes:
    return orjson.dumps({"respondToUrl": URL, "fields": fields} | more)


def read(raw: bytes) -> HookCall:
    return read_hook_call(raw, HEADERS)


def problems_of(raw: bytes, headers: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(InvalidRequestError) as caught:
        read_hook_call(raw, HEADERS if headers is None else CIMultiDict(headers))
    return caught.value.problems


def test_a_hook_call_is_read() -> None:
    raw = body()
    call = read(raw)
    assert (call.respond_to, call.body, call.request_id) == (URL, raw, REQUEST_ID)
    spelling = orjson.dumps(FIELDS, option=orjson.OPT_SORT_KEYS)
    assert call.content == hashlib.sha256(spelling).hexdigest()


def test_the_url_is_normalised() -> None:
    raw = body(respondToUrl="HTTP://My-Instance.witboost.com:80/api/./actionHandler/123456")
    assert read(raw).respond_to == URL


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8"],
)
def test_the_content_type_may_have_parameters(content_type: str) -> None:
    headers = CIMultiDict({"X-Request-ID": REQUEST_ID.upper(), "Content-Type": content_type})
    assert read_hook_call(body(), headers).request_id == REQUEST_ID.upper()


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"Content-Type": "application/json"}, ["X-Request-ID is missing"]),
        ({"X-Request-ID": "1", "Content-Type": "application/json"}, ["X-Request-ID must be"]),
        (
            {"X-Request-ID": f"{REQUEST_ID}\n", "Content-Type": "application/json"},
            ["X-Request-ID must be"],
        ),
        ({"X-Request-ID": REQUEST_ID}, ["Content-Type must be"]),
        ({"X-Request-ID": REQUEST_ID, "Content-Type": "text/plain"}, ["Content-Type must be"]),
        ({"X-Request-ID": REQUEST_ID, "Content-Type": "application/jsonp"}, ["Content-Type must"]),
        ({}, ["X-Request-ID is missing", "Content-Type must be"]),
    ],
)
def test_each_header_that_is_wrong_is_named(headers: dict[str, str], named: list[str]) -> None:
    problems = problems_of(body(), headers)
    assert len(problems) == len(named)
    assert all(map(str.startswith, problems, named))


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b"", ["body is not JSON (line 1 column 1"]),
        (b'{"respondToUrl":\n  nope}', ["body is not JSON (line 2 column 3"]),
        (b'{"fields": {"a": NaN}}', ["body is not JSON"]),
        (b'{"fields": {"a": -Infinity}}', ["body is not JSON"]),
        (b'{"fields": {"a": 1e999}}', ["body is not JSON"]),
        (b'{"fields": {"a": ' + b"9" * 5_000 + b"}}", ["body is not JSON"]),
        (b'{"fields": {"a": "\xff"}}', ["body is not JSON"]),
        (b'{"fields": {"a": "\\ud800"}}', ["body is not JSON"]),
        ("{}".encode("utf-16"), ["body is not JSON"]),
        (b"\xef\xbb\xbf{}", ["body is not JSON"]),
        (b"[" * 100_000, ["body is not JSON"]),
        (b"[]", ["body must be a JSON object"]),
        (b"null", ["body must be a JSON object"]),
        (b'"text"', ["body must be a JSON object"]),
        (b"{}", ["respondToUrl is missing", "fields is missing"]),
        (body(None), ["fields is missing"]),
        (body([]), ["fields must be a JSON object"]),
        (body("x"), ["fields must be a JSON object"]),
        (body(respondToUrl=None), ["respondToUrl is missing"]),
        (body(respondToUrl=5), ["respondToUrl must be a string"]),
        (body([], respondToUrl=[URL]), ["respondToUrl must be a", "fields must be a"]),
        (body(respondToUrl="ftp://x/"), ["respondToUrl must be an absolute"]),
        (body([], respondToUrl="http://u:p@x/"), ["respondToUrl must not", "fields must be a"]),
    ],
)
def test_each_part_of_the_body_that_is_wrong_is_named(raw: bytes, named: list[str]) -> None:
    problems = problems_of(raw)
    assert len(problems) == len(named)
    assert all(map(str.startswith, problems, named))


def test_every_problem_is_reported_at_once() -> None:
    assert len(problems_of(b"{}", {})) == 4


def nested(levels: int, opening: str = '{"a":', closing: str = "}") -> bytes:
    inner = opening * levels + "1" + closing * levels
    return f'{{"respondToUrl":"{URL}","fields":{{"a":{inner}}}}}'.encode()


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
def test_a_body_may_be_nested_to_the_limit_but_no_deeper(opening: str, closing: str) -> None:
    assert read(nested(30, opening, closing)).respond_to == URL
    assert problems_of(nested(31, opening, closing)) == ("body is nested deeper than 32 levels",)


def test_many_brackets_are_not_depth() -> None:
    assert read(body({"lists": [[]] * 100, "text": "{[" * 100})).respond_to == URL


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":1,"b":{"c":2,"d":3}}', b'{ "b": {"d": 3, "c": 2}, "a": 1 }'),
        ('{"a":"é"}'.encode(), b'{"a":"\\u00e9"}'),
        (b'{"a":123456789012345678901234567890}', b'{ "a" : 123456789012345678901234567890 }'),
    ],
)
def test_the_same_fields_in_another_spelling_have_the_same_content(
    one: bytes, other: bytes
) -> None:
    assert content(one) == content(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":1}', b'{"a":2}'),
        (b'{"a":1}', b'{"a":"1"}'),
        (b'{"a":null}', b"{}"),
        (b'{"a":[1,2]}', b'{"a":[2,1]}'),
        (b'{"a":18446744073709551616}', b'{"a":18446744073709551617}'),
        (b'{"a":-9223372036854775809}', b'{"a":-9223372036854775810}'),
        (b'{"a":12345678901234567890123}', b'{"a":12345678901234567890124}'),
        (b'{"a":9223372036854775807}', b'{"a":9223372036854775806}'),
        (b'{"a":1234567890123456789}', b'{"a":1234567890123456788}'),
    ],
)
def test_other_fields_have_another_content(one: bytes, other: bytes) -> None:
    assert content(one) != content(other)


def test_other_parts_of_the_body_do_not_change_the_content() -> None:
    long = body(extra="12345678901234567890", respondToUrl=URL + "/" + "9" * 30)
    assert read(long).content == read(body()).content


def content(fields: bytes) -> str:
    return read(b'{"respondToUrl":"%s","fields":%s}' % (URL.encode(), fields)).content


TEXTS = st.text('aé\U0001f600" ', max_size=4)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, width=32) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
NAMES = (
    "identities refs verb type spec reason requester resource urn requestedResource"
    " consumableInterface parentSystem displayName userRef"
)
KEYS = st.sampled_from(NAMES.split())


@given(st.dictionaries(KEYS, TREES | st.dictionaries(KEYS, TREES, max_size=3), max_size=5))
def test_no_fields_make_reading_fail(fields: dict[str, Any]) -> None:
    raw = json.dumps({"respondToUrl": URL, "fields": fields}).encode()
    try:
        call = read(raw)
    except InvalidRequestError:
        return  # an integer of hundreds of digits, or infinity after all
    assert call.respond_to == URL
    request = approval_request("c1", raw, REQUEST_ID)
    assert request.fields == fields
    assert all(isinstance(name, str) for name in request.identities)


@given(st.binary(max_size=40) | st.text('{}[]":,1 ', max_size=40).map(str.encode))
def test_garbage_is_refused_without_any_other_error(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        read(raw)


def test_the_example_of_the_contract_becomes_an_approval_request() -> None:
    fields = FIELDS | {"domain": "finance", "role": "data_engineer", "id": 2**70}
    raw = b'{"respondToUrl":"%s","fields":%s}' % (
        URL.replace("http", "HTTP").encode(),
        repr(fields).replace("'", '"').encode(),
    )
    request = approval_request("c1", raw, REQUEST_ID)
    assert request.correlation_id == "c1"
    assert request.respond_to == URL
    assert request.fields == fields
    assert request.verb is Verb.GRANT
    assert request.identities == ["john.doe_company.com"]
    assert request.motivation == "because"
    assert (request.requester, request.resource) == ("", "")
    assert request.request_id == REQUEST_ID
