import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some
from yarl import URL

from proxy.domain.text import CUT, shorten
from proxy.errors import PermanentError
from proxy.tickets.declaring.calls import CallShape
from proxy.tickets.declaring.sanitize import reference
from proxy.tickets.declaring.templates import problems_of, problems_of_path, tree_template
from proxy.tickets.rest.request_writer import LONGEST_CALL, CallWriter

TEXTS = some.text(some.characters(codec=None), max_size=60)


def rendered(source: Any, limits: Mapping[str, int] | None = None, **names: Any) -> Any:
    return tree_template(source, "desk: create.body", limits or {})(names)


def writer(path: str = "/t", *, base_url: str = "https://desk.example.com", **parts: Any) -> Any:
    shape = CallShape(**({"method": "POST", "path": path} | parts))
    return CallWriter(shape, setting="desk: create", base_url=base_url, limits={})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["a", "b"], 'x ["a","b"]'),
        (7, "x 7"),
        (True, "x true"),
        (None, "x "),
        ({"a": 1}, 'x {"a":1}'),
    ],
)
def test_a_leaf_that_is_one_expression_keeps_its_type_and_any_other_is_text(
    value: object, text: str
) -> None:
    assert rendered({"leaf": "{{ v }}", "text": "x {{ v }}"}, v=value) == {
        "leaf": value,
        "text": text,
    }


def test_what_is_no_text_stays_as_it_is() -> None:
    tree = {"a": [1, None, True, {"b": "fixed"}], "c": {}}
    assert rendered(tree) == tree


def test_a_key_of_free_fields_wins_over_the_method_of_the_same_name() -> None:
    assert rendered("{{ fields.items }}", fields={"items": ["a"]}) == ["a"]


def test_a_lazy_filter_gives_a_list() -> None:
    assert rendered("{{ v | map('upper') }}", v=["a", "b"]) == ["A", "B"]


@given(TEXTS)
def test_no_value_leaves_its_json_string(value: str) -> None:
    shape = {"title": "for {{ v }}", "v": "{{ v }}", "list": ["{{ v }}"]}
    body = orjson.loads(orjson.dumps(rendered(shape, v=value)))
    assert body.keys() == shape.keys()
    assert body["title"] == f"for {body['v']}"
    assert body["list"] == [body["v"]]


@given(TEXTS)
def test_texts_lose_control_characters_and_lone_surrogates_but_no_lines(value: str) -> None:
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", rendered("{{ v }}", v=value))
    assert rendered("{{ v }}", v="a\r\nb\tc\x00\x1b[0m") == "a\nb\tc[0m"


@given(TEXTS)
def test_no_value_leaves_its_path_segment_or_makes_a_parameter(value: str) -> None:
    write = writer("/api/t/{{ ticket.id }}/comments", query={"q": "{{ ticket.id }}", "n": "1"})
    try:
        call = write.write(ticket={"id": value})
    except PermanentError:
        cleaned = rendered("{{ v }}", v=value)
        assert cleaned in {"", ".", ".."}
        return
    url = URL(call.url, encoded=True)
    assert url.host == "desk.example.com"
    assert [unquote(part) for part in url.raw_path.split("/")] == [
        "",
        "api",
        "t",
        rendered("{{ v }}", v=value),
        "comments",
    ]
    assert list(url.query.items()) == [("q", rendered("{{ v }}", v=value)), ("n", "1")]
    assert url.raw_fragment == ""


@pytest.mark.parametrize("value", ["", ".", "..", "\x00"])
def test_a_value_that_would_change_the_path_is_refused(value: str) -> None:
    with pytest.raises(PermanentError, match=r"^desk: create\.path cannot be written"):
        writer("/api/t/{{ ticket.id }}").write(ticket={"id": value})


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "naïve"])
def test_a_header_holds_printable_ascii_only(value: str) -> None:
    with pytest.raises(PermanentError, match=r"^desk: create\.headers\.X-For cannot be written"):
        writer(headers={"X-For": "{{ v }}"}).write(v=value)


def test_headers_of_the_declaration_win_over_ours_whatever_their_case() -> None:
    call = writer(headers={"content-type": "application/x+json"}, body={}).write()
    assert {name.lower(): value for name, value in call.headers.items()} == {
        "accept": "application/json",
        "content-type": "application/x+json",
    }


def test_a_body_of_null_is_left_out_and_an_empty_one_is_sent() -> None:
    assert writer().write().body is None
    assert writer(body={}).write().body == b"{}"


def test_base_url_keeps_its_path() -> None:
    call = writer("/t/{{ n }}", base_url="https://api.example.com/ex/jira/77").write(n=1)
    assert call.url == "https://api.example.com/ex/jira/77/t/1"


def test_a_call_has_a_bounded_size() -> None:
    with pytest.raises(PermanentError, match="longer than"):
        writer(body="{{ v }}").write(v="x" * LONGEST_CALL)


@pytest.mark.parametrize(
    ("source", "names", "words"),
    [
        ("{{ fields.cost }}", {"fields": {}}, "has no attribute 'cost'"),
        ("a {{ fields.cost }}", {"fields": {}}, "has no attribute 'cost'"),
        ("{{ 1 / v }}", {"v": 0}, "ZeroDivisionError"),
        ("{{ v.__class__ }}", {"v": "x"}, "SecurityError"),
        ("{{ v.upper }}", {"v": "x"}, "has no JSON form"),
        ("{{ v + 1 }}", {"v": "secret"}, "TypeError"),
    ],
)
def test_values_that_do_not_fit_are_a_permanent_error_that_names_the_place(
    source: str, names: dict[str, Any], words: str
) -> None:
    with pytest.raises(PermanentError, match=words) as caught:
        rendered({"a": [source]}, **names)
    assert str(caught.value).startswith("desk: create.body.a.0 cannot be written for this request")
    assert "secret" not in str(caught.value)


def test_a_number_that_json_cannot_hold_is_a_permanent_error() -> None:
    with pytest.raises(PermanentError, match=r"desk: create\.body cannot be written as JSON"):
        writer(body={"cost": "{{ v }}"}).write(v=2**70)


def test_the_sandbox_keeps_values_as_they_are() -> None:
    fields = {"a": [1]}
    with pytest.raises(PermanentError):
        rendered("{{ fields.a.append(2) }}", fields=fields)
    assert fields == {"a": [1]}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ motivaton }}", "did you mean 'motivation'"),
        ("{{ ticket.key }}", "mentions 'key'"),
        ("{{ range(3) }}", "mentions 'range'"),
        ("{{ motivation | shout }}", "No filter named 'shout'"),
        ("{{ motivation", "is not a template"),
        ("{% if motivation %}", "is not a template"),
    ],
)
def test_slips_of_the_keyboard_are_found_when_a_template_is_loaded(source: str, words: str) -> None:
    (problem,) = problems_of(source, {"motivation": (), "ticket": ("id",)})
    assert words in problem


def test_names_that_a_template_makes_itself_are_known() -> None:
    assert problems_of("{% for one in all %}{{ one }}{% endfor %}", {"all": ()}) == []


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example.com/",
        "//evil.example.com/",
        "api",
        "/a?b=c",
        "/a#b",
        "/a b",
        "/a/../b",
        "/a/%2E%2e/b",
        "/%zz",
        "{{ ticket.id }}",
        "/{% if a %}b{% endif %}",
        "",
    ],
)
def test_a_path_stays_below_base_url(path: str) -> None:
    assert problems_of_path(path)


@pytest.mark.parametrize("path", ["/", "/a/{{ b / c }}/d", "/projects/group%2Fname/items(1)/"])
def test_sound_paths_are_left_alone(path: str) -> None:
    assert problems_of_path(path) == []


def test_only_the_limited_leaf_is_cut_and_only_when_it_is_text() -> None:
    tree = {"title": "{{ v }}", "more": {"title": "{{ v }}"}}
    limits = {"title": 20}
    assert rendered(tree, limits, v="x" * 21) == {
        "title": "x" * 14 + CUT,
        "more": {"title": "x" * 21},
    }
    assert rendered(tree, limits, v=["x"] * 30)["title"] == ["x"] * 30


@given(some.text(max_size=60), some.integers(min_value=16, max_value=50))
def test_a_shortened_text_fits_and_shows_that_it_was_cut(text: str, limit: int) -> None:
    cut = shorten(text, limit)
    assert len(cut.encode("utf-16-le")) // 2 <= limit
    assert cut == text or cut.endswith(CUT)
    assert (cut == text) == (len(text.encode("utf-16-le")) // 2 <= limit)


@pytest.mark.parametrize(
    "whole",
    ["e\u0301", "\U0001f469\u200d\U0001f52c", "\U0001f44d\U0001f3fd", "\u2764\ufe0f"],
    ids=["accent", "joined", "skin tone", "variation"],
)
@pytest.mark.parametrize("before", range(6, 16))
def test_a_character_is_not_parted_from_what_belongs_to_it(whole: str, before: int) -> None:
    start = "x" * before
    cut = shorten(start + whole + "y" * 30, 16)
    kept = cut.removesuffix(CUT)
    assert kept == "x" * len(kept) or kept.startswith(start + whole)


@pytest.mark.parametrize(
    "value",
    ["7\n8", "7\r8", "7\t8", "7\x00", "7\u20288", "x" * 256, "", " ", None, ["7"], {"id": 7}],
)
def test_what_cannot_lead_back_to_a_ticket_is_no_reference(value: Any) -> None:
    """Cut or cleaned it would be another one; of two lines, the store would make two."""
    assert reference(value) == ""


@pytest.mark.parametrize(
    ("value", "text"), [(7, "7"), (" DESK-7\n", "DESK-7"), ("ä/b?c#d", "ä/b?c#d")]
)
def test_a_reference_is_kept_as_it_is(value: Any, text: str) -> None:
    assert reference(value) == text
    assert reference("x" * 255) == "x" * 255
