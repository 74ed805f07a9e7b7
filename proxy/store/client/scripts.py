"""The Lua scripts that change the store, each with the type of its arguments.

A script's ARGV are the fields of its arguments in order. `load_script` turns them into local
variables of the same names, so neither Lua nor Python counts positions. Values of variable number
follow the fields; the script finds the first of them at ARGV[rest].

Field names that several scripts share: `now` is the time in ms, or empty for the server's clock;
`operation` names one write, so that a repeat answers as the first time; `references` are what the
index of tickets gains and loses, see `codec.ref_lines`; durations are in ms.
"""

import hashlib
from importlib.resources import files
from typing import Any, Final, Literal, NamedTuple

from proxy.store.client.pipeline import Arguments, Script

_REPAIRS: Final = {"restore", "indices"}
_STEPS: Final = {"admit", "claim", "commit", "hint", "expire", "resume"}
_PARTITIONED: Final = {*_STEPS, "run_id", "snapshot", "import", *_REPAIRS}
"""Scripts about the requests of one partition; the others are about what all requests share."""


class NoArguments(NamedTuple):
    """A script that takes nothing, or only values of variable number."""


class AdmitArguments(NamedTuple):
    """A hook call that is to be stored."""

    now: str
    id: str
    content_digest: str
    url_digest: str
    payload: bytes
    reuse_after_final: int
    decision_deadline: int
    instance: str
    client: str
    system: str
    route: str
    request_id: str
    server_run_id: str
    version: int


class ClaimArguments(NamedTuple):
    """A worker that takes due requests."""

    now: str
    worker: str
    token: str
    limit: int
    lease: int


class CommitArguments(NamedTuple):
    """A changed record; its fields and texts follow."""

    id: str
    operation: str
    expected_fence: int
    fence: int
    due: int | Literal["none", "keep"]
    history: bytes
    only_newest: int
    references: str
    field_count: int


class ExpireArguments(NamedTuple):
    """A finished request whose retention is over."""

    now: str
    id: str
    fence: int


class HintArguments(NamedTuple):
    """An event about a request's ticket, pushed or listed by `source`."""

    now: str
    id: str
    interval: int
    burst: int
    source: str


class ReserveArguments(NamedTuple):
    """A request that is about to be given a ticket."""

    holder: str
    duration: int


class ResumeArguments(NamedTuple):
    """A destination whose waiting requests become due."""

    now: str
    destination: str
    ahead: int
    spacing: int


class PauseArguments(NamedTuple):
    """A change of a destination's pause."""

    action: Literal["pause", "probe", "resume", "returned"]
    now: str
    destination: str
    causes: str = ""
    reason: str = ""
    by: str = ""
    delay: int = 0


class PollTurnArguments(NamedTuple):
    """A process that takes its turn at polling, or stores a watermark."""

    now: str
    system: str
    interval: int
    watermark: int | Literal[""] = ""


class SealArguments(NamedTuple):
    """A process that takes the sealing lease, or advances what is sealed."""

    action: Literal["take", "advance"]
    now: str
    owner: str
    lease: int = 0
    expected_hash: str = ""
    lines: int = 0
    hash: str = ""
    positions: bytes = b""


class AppendAuditArguments(NamedTuple):
    """An audit entry about no request, with the value whose change it records."""

    now: str
    before: str
    after: str
    entry: bytes


class TokenArguments(NamedTuple):
    """A change of a shared token, or of who may use it."""

    action: Literal["load", "drop", "begin", "end", "sending", "rotate", "put"]
    token: bytes = b""
    new_token: bytes = b""
    owner: str = ""
    duration: int = 0
    now: str = ""
    entry: bytes = b""


class RestoreArguments(NamedTuple):
    """A request to be written back; history, fields and texts follow."""

    now: str
    id: str
    operation: str
    fence: int | Literal[""]
    retention: int
    references: str
    payload: bytes
    history_count: int
    field_count: int


class IndicesArguments(NamedTuple):
    """A comparison of indices with records; the names to compare follow."""

    now: str
    repair: int
    retention: int


class ImportArguments(NamedTuple):
    """An exported request; fields, history and texts follow."""

    id: str
    due: int | Literal[""]
    url_digest: bytes
    payload: bytes
    field_count: int
    history_count: int


def load_script(name: str, arguments: type[Arguments]) -> Script[Arguments]:
    """Read a Lua script from the package, with its arguments as local variables."""
    folder = files("proxy.store") / "lua"
    parts = ["clock", *(["common"] if name in _PARTITIONED else [])]
    parts += ["due_time"] if name in _REPAIRS else []
    shared = "".join((folder / f"{part}.lua").read_text() for part in parts)
    source = shared + _locals(arguments) + (folder / f"{name}.lua").read_text()
    # Redis names scripts by their SHA-1
    return Script(source, hashlib.sha1(source.encode()).hexdigest())  # noqa: S324


def _locals(arguments: type[Any]) -> str:
    names: tuple[str, ...] = arguments._fields
    values = [*(f"ARGV[{number}]" for number in range(1, len(names) + 1)), str(len(names) + 1)]
    return f"local {', '.join([*names, 'rest'])} = {', '.join(values)}\n"


ADMIT: Final = load_script("admit", AdmitArguments)
APPEND: Final = load_script("append", NoArguments)
APPEND_AUDIT: Final = load_script("append_audit", AppendAuditArguments)
CLAIM: Final = load_script("claim", ClaimArguments)
COMMIT: Final = load_script("commit", CommitArguments)
EXPIRE: Final = load_script("expire", ExpireArguments)
HINT: Final = load_script("hint", HintArguments)
IMPORT: Final = load_script("import", ImportArguments)
INDICES: Final = load_script("indices", IndicesArguments)
PAUSE: Final = load_script("pause", PauseArguments)
POLL_TURN: Final = load_script("poll_turn", PollTurnArguments)
RESERVE: Final = load_script("reserve", ReserveArguments)
RESTORE: Final = load_script("restore", RestoreArguments)
RESUME: Final = load_script("resume", ResumeArguments)
RUN_ID: Final = load_script("run_id", NoArguments)
SEAL: Final = load_script("seal", SealArguments)
SNAPSHOT: Final = load_script("snapshot", NoArguments)
TOKENS: Final = load_script("tokens", TokenArguments)
