"""What is fuzzed, and what must hold whatever comes in.

Each target takes one input and raises AssertionError where a promise is broken; any other
exception than the ones that its code documents is a broken promise too.
"""

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from multidict import CIMultiDict
from yarl import URL

from proxy.errors import InvalidRequestError, UnauthorizedError
from proxy.net.urls import CallbackPrefix, allowed, normalise
from proxy.tickets.events.declaration import Events
from proxy.tickets.events.reader import EventReader
from proxy.witboost.hook_call import HookCall, approval_request, read_hook_call, respond_to
from tests.fuzzing.mutations import Mutations

Target = Callable[[Mutations], None]

# -- the body of a hook call ----------------------------------------------------------------------

_HEADERS: Final = CIMultiDict(
    {
        "X-Request-ID": "7f3c1f0e-3d6b-4b5e-9d41-0a6a7f3c1f0e",
        "Content-Type": "application/json",
    }
)
_BODIES: Final[Sequence[bytes]] = (
    b'{"respondToUrl":"https://witboost.example.com/api/actionHandler/1","fields":{}}',
    b'{"respondToUrl":"https://w.example/a/1","fields":{"identities":["user:j.doe_x.com","group:x"]}}',
    b'{"respondToUrl":"https://w.example/2","fields":{"resource":{"name":"n"},"verb":"grant"}}',
    b'{"fields":{"a":[1,2.5,-3,true,null,"\\u00e9"],"b":{"c":[[]]}},"respondToUrl":"http://w:8/x?y"}',
    b'{"respondToUrl":"https://w.example/","fields":{"id":12345678901234567890123}}',
)


def hook_body(mutations: Mutations) -> None:
    """A body is read or refused; what is read means the same to every later reader."""
    call: HookCall | None = None
    problems: Sequence[str] = ()
    try:
        call = read_hook_call(mutations.of(_BODIES), _HEADERS)
    except InvalidRequestError as error:
        problems = error.problems
    assert (call is None) == bool(problems)
    assert all(problem.isprintable() for problem in problems), problems
    if call is None:
        return
    tree = json.loads(call.body)
    assert normalise(call.respond_to) == call.respond_to == respond_to(call.body)
    assert call.respond_to == normalise(tree["respondToUrl"])
    spelled = json.dumps({"fields": tree["fields"], "respondToUrl": tree["respondToUrl"]})
    assert read_hook_call(spelled.encode(), _HEADERS).content == call.content
    request = approval_request("ar0", call.body, "r")
    assert request.fields == tree["fields"]
    assert all(isinstance(identity, str) for identity in request.identities)


# -- the proof of an event ------------------------------------------------------------------------

_NOW: Final = 1_800_000_000_000
_SECRET: Final = b"a secret that nobody else has"
_EVENT: Final = b'{"ticket":{"id":"7","key":"DESK-7"},"id":"e-1"}'
_SHAPES: Final[Sequence[Mapping[str, Any]]] = (
    {"auth": "hmac", "header": "X-Signature", "prefix": "sha256=", "ticket": "ticket.id"},
    {
        "auth": "hmac",
        "header": "X-Signature",
        "encoding": "base64",
        "prefix": "v1,",
        "signed": "{id}.{timestamp}.{body}",
        "timestamp_header": "X-Timestamp",
        "id_header": "X-Id",
        "ticket": "ticket.id",
    },
    {"auth": "basic", "ticket": "ticket.id"},
    {"auth": "static_header", "header": "X-Signature", "ticket": "ticket.id"},
)
_READERS: Final = [EventReader(Events.model_validate(it), lambda: (_SECRET,)) for it in _SHAPES]


def _proven(shape: int) -> dict[str, str]:
    moment, event = str(_NOW // 1_000), "e-1"
    plain = hmac.new(_SECRET, _EVENT, hashlib.sha256).hexdigest()
    timed = hmac.new(_SECRET, f"{event}.{moment}.".encode() + _EVENT, hashlib.sha256).digest()
    return (
        {"X-Signature": f"sha256={plain}"},
        {
            "X-Signature": f"v1,{base64.b64encode(timed).decode()}",
            "X-Timestamp": moment,
            "X-Id": event,
        },
        {"Authorization": f"Basic {base64.b64encode(_SECRET).decode()}"},
        {"X-Signature": _SECRET.decode()},
    )[shape]


_REFUSAL: Final = "the event does not prove that it comes from the ticket system"
_SIGNED: Final = 2  # of the shapes: their proof covers the body


def event_proof(mutations: Mutations) -> None:
    """An event whose body or proof was changed is refused, with one error and no other."""
    shape = mutations.random.randrange(len(_SHAPES))
    headers, body = _proven(shape), _EVENT
    changed = mutations.random.choice(["body", *headers])
    if changed == "body":
        body = mutations.of([body])
        genuine = body == _EVENT or shape >= _SIGNED
    else:
        text = mutations.of([headers[changed].encode()]).decode("utf-8", "surrogateescape")
        genuine = _same(text, headers[changed], shape, changed)
        headers[changed] = text
    refusal = ""
    refs: Sequence[str] = ()
    try:
        refs = _READERS[shape].read(CIMultiDict(headers), body, now=_NOW).refs
    except (UnauthorizedError, InvalidRequestError) as error:
        refusal = str(error) if isinstance(error, UnauthorizedError) else ""
    assert refusal in {"", _REFUSAL}
    assert refusal or genuine, (headers, body)
    assert all(refs)


def _same(text: str, original: str, shape: int, header: str) -> bool:
    """Whether a changed header still says what the original said."""
    text, original = text.strip(" \t"), original.strip(" \t")
    if header in {"X-Timestamp", "X-Id"}:
        return text == original
    if shape < _SIGNED:  # several signatures may be listed, hexadecimal digits in either case
        texts = text.split(" ")
        return original in texts or original.lower() in [it.lower() for it in texts]
    if header == "Authorization":
        scheme, _, proof = text.partition(" ")
        return scheme.lower() == "basic" and proof.strip() == original.partition(" ")[2]
    return text == original


# -- the URL policy -------------------------------------------------------------------------------

_PREFIX: Final = "https://witboost.example.com/api/actionHandler/"
_PREFIXES: Final = [CallbackPrefix.parse(_PREFIX)]
_URLS: Final[Sequence[bytes]] = (
    b"https://witboost.example.com/api/actionHandler/123456",
    b"https://witboost.example.com:443/api/actionHandler/1?x=y",
    b"HTTPS://WITBOOST.example.com/api/./actionHandler/a/../b",
    b"https://witboost.example.com/api/actionHandler/%41%2e%2e/c",
    b"https://witboost.example.com/api/actionHandler/a%252f%252e%252e%252f%252e%252e/c",
    b"http://witboost.example.com/api/actionHandler/1",
    b"https://user:pass@witboost.example.com/api/actionHandler/1",
    b"https://[::ffff:127.0.0.1]/api/actionHandler/1",
)


def callback_url(mutations: Mutations) -> None:
    """What passes leads, for every reader, to the one origin and under the one path."""
    url = mutations.of(_URLS).decode("utf-8", "surrogateescape")
    try:
        normal = normalise(url)
    except InvalidRequestError:
        return
    assert normalise(normal) == normal
    if not allowed(normal, _PREFIXES):
        return
    assert normal.isascii(), normal
    assert normal.isprintable(), normal
    assert "\\" not in normal, normal
    for host, port, path in (_stdlib(normal), _yarl(normal)):
        assert (host, port) == ("witboost.example.com", 443), normal
        read = path
        for _ in range(4):  # as servers that decode once more, and once more, read it
            assert _climbed(read).startswith("/api/actionHandler/"), normal
            read = unquote(read)


def _stdlib(url: str) -> tuple[str | None, int, str]:
    parts = urlsplit(url)
    assert parts.scheme == "https", url
    assert parts.username is parts.password is None, url
    return parts.hostname, parts.port or 443, parts.path


def _yarl(url: str) -> tuple[str | None, int, str]:
    parts = URL(url, encoded=True)
    assert parts.user is parts.password is None, url
    return parts.host, parts.port or 443, parts.raw_path


def _climbed(path: str) -> str:
    kept: list[str] = []
    segments = path.replace("\\", "/").split("/")[1:]
    if segments[-1] in {".", ".."}:
        segments.append("")  # RFC 3986 5.2.4: what ends in a dot segment is a folder
    for segment in segments:
        name = segment.partition(";")[0] if segment.startswith("..") else segment
        if name == "..":
            with contextlib.suppress(IndexError):
                kept.pop()
        elif name != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


TARGETS: Final[Mapping[str, Target]] = {
    "hook body": hook_body,
    "event proof": event_proof,
    "callback URL": callback_url,
}
