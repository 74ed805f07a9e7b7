"""The arguments of each Lua script: their names and order in Python are those in the script."""

import re
from importlib.resources import files
from typing import Any, NamedTuple

import pytest

from proxy.store.client import scripts
from proxy.store.client.pipeline import Script
from proxy.store.client.scripts import NoArguments, load_script

ARGUMENTS: dict[str, tuple[type[Any], str]] = {
    "admit": (
        scripts.AdmitArguments,
        (
            "now id content_digest url_digest payload reuse_after_final decision_deadline"
            " instance client system route request_id server_run_id version"
        ),
    ),
    "append": (NoArguments, ""),
    "append_audit": (scripts.AppendAuditArguments, "now before after entry"),
    "claim": (scripts.ClaimArguments, "now worker token limit lease"),
    "commit": (
        scripts.CommitArguments,
        ("id operation expected_fence fence due history only_newest references field_count"),
    ),
    "expire": (scripts.ExpireArguments, "now id fence"),
    "hint": (scripts.HintArguments, "now id interval burst source"),
    "import": (
        scripts.ImportArguments,
        "id due url_digest payload field_count history_count",
    ),
    "indices": (scripts.IndicesArguments, "now repair retention"),
    "pause": (scripts.PauseArguments, "action now destination causes reason by delay"),
    "poll_turn": (scripts.PollTurnArguments, "now system interval watermark"),
    "reserve": (scripts.ReserveArguments, "holder duration"),
    "restore": (
        scripts.RestoreArguments,
        ("now id operation fence retention references payload history_count field_count"),
    ),
    "resume": (scripts.ResumeArguments, "now destination ahead spacing"),
    "run_id": (NoArguments, ""),
    "seal": (
        scripts.SealArguments,
        "action now owner lease expected_hash lines hash positions",
    ),
    "snapshot": (NoArguments, ""),
    "tokens": (scripts.TokenArguments, "action token new_token owner duration now entry"),
}
"""Each script with the order of its arguments."""

SHARED_PARTS = {"clock", "common", "due_time"}
LUA_NAMES = """
    and break do else elseif end false for function if in local nil not or repeat return then true
    until while ARGV KEYS cjson ipairs math pairs redis string table tonumber tostring unpack
"""


def body(name: str) -> str:
    """Return a script's own file without comments and strings."""
    text = (files("proxy.store") / "lua" / f"{name}.lua").read_text()
    return re.sub(r"'[^'\n]*'", "''", re.sub(r"--.*", "", text))


def used(text: str) -> set[str]:
    """Return the names that a text uses; fields and methods are left out."""
    text = re.sub(r"[.:]\w+", "", re.sub(r"\.\.", " ", text))
    text = re.sub(r"([{,]\s*)\w+ =(?!=)", r"\1", text)  # names of fields in a table
    return set(re.findall(r"[A-Za-z_]\w*", text)) - set(LUA_NAMES.split())


def declared(text: str) -> set[str]:
    """Return the names that a text declares, whatever their scope."""
    names = re.findall(r"local function (\w+)", text)
    lists = re.findall(r"local (?!function)([\w, ]+)", text)
    lists += re.findall(r"function \w*\(([\w, ]*)\)", text) + re.findall(
        r"for ([\w, ]+?)(?: in| =)", text
    )
    return {*names, *(name for names in lists for name in re.findall(r"\w+", names))}


def converted(text: str) -> set[str]:
    """Return the arguments that a script makes numbers of, as in `local x = tonumber(x)`."""
    lines = re.findall(r"local [\w, ]+ = (.*)", text)
    return {it for line in lines for it in re.findall(r"(?:clock|tonumber)\((\w+)\)", line)}


def complaints(name: str, arguments: type[Any]) -> list[str]:
    """Return where a script and its arguments disagree."""
    fields, text = set(arguments._fields), body(name)
    shared = re.findall(r"local function (\w+)", "".join(body(part) for part in SHARED_PARTS))
    own = (declared(text) - converted(text)) | {*shared, "tag", "rest"}
    unknown, unused = used(text) - own - fields, fields - used(text)
    return [f"{it} is no argument" for it in sorted(unknown)] + [
        f"{it} is not used" for it in sorted(unused)
    ]


def test_every_script_is_pinned() -> None:
    names = {file.name.removesuffix(".lua") for file in (files("proxy.store") / "lua").iterdir()}
    assert names - SHARED_PARTS == ARGUMENTS.keys()
    constants = {name.lower() for name, it in vars(scripts).items() if isinstance(it, Script)}
    assert constants == ARGUMENTS.keys()


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_order_of_the_arguments_is_that_of_the_script(name: str) -> None:
    kind, order = ARGUMENTS[name]
    assert kind._fields == tuple(order.split())
    script = getattr(scripts, name.upper())
    assert script == load_script(name, kind)
    names = [*order.split(), "rest"]
    values = [f"ARGV[{number}]" for number in range(1, len(names))]
    head = f"local {', '.join(names)} = {', '.join([*values, str(len(names))])}\n"
    assert script.source.count(head) == 1
    assert script.source.endswith(head + (files("proxy.store") / "lua" / f"{name}.lua").read_text())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_script_uses_its_arguments_by_name(name: str) -> None:
    assert complaints(name, ARGUMENTS[name][0]) == []
    assert not re.search(r"ARGV\[\d", body(name)), "no position is counted"


class WithoutFence(NamedTuple):
    """The arguments of `expire` without one that it uses."""

    now: str
    id: str


class WithReason(NamedTuple):
    """The arguments of `expire` with one that it does not use."""

    now: str
    id: str
    fence: int
    reason: str


def test_a_missing_and_an_extra_argument_are_told() -> None:
    """The negative control."""
    assert complaints("expire", WithoutFence) == ["fence is no argument"]
    assert complaints("expire", WithReason) == ["reason is not used"]
    assert complaints("claim", NoArguments) == [
        f"{name} is no argument" for name in ("lease", "limit", "now", "token", "worker")
    ]
