"""Challenges: a system hears that the address is ours, and nobody gets anything signed by us."""

import hashlib
import hmac
from typing import Any

import aiohttp
import pytest

from proxy.errors import UnauthorizedError
from proxy.tickets.events.challenges import Challenges
from proxy.tickets.events.declaration import Events
from proxy.tickets.events.reader import EventReader
from tests.conftest import OpenRig
from tests.support.canaries import EVENT_SECRET
from tests.support.rig import desk_tree

SECRET = b"of the events"
GRAPH = {"method": "POST", "token": "query.validationToken", "answer": "{{ token }}"}
CRC = {"token": "query.crc", "answer": {"response_token": "{{ signature }}"}}


def mac(text: str, secret: bytes = SECRET) -> str:
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def events(**changes: Any) -> Events:
    tree: dict[str, Any] = {"auth": "hmac", "header": "X-Sig", "ticket": "id", **changes}
    return Events.model_validate(tree)


def asked(declared: Any, method: str = "GET", body: bytes = b"", **query: str) -> Any:
    """Return the answer under two live secrets, of which the second is the one in use."""
    challenges = Challenges(declared, lambda: [SECRET, b"another"])
    return challenges.answer(method, query, body)


def test_graph_wants_its_token_back() -> None:
    declared, token = events(challenge=GRAPH), "Validation: app/1 Request-Id: 7"
    assert asked(declared, "POST", validationToken=token) == token
    assert asked(declared, "GET", validationToken=token) is None
    assert asked(declared, "POST") is None


@pytest.mark.parametrize("token", ["", "a\nb", "\x00", "é", "x" * 1_025])
def test_what_is_no_plain_text_is_not_repeated(token: str) -> None:
    assert asked(events(challenge=GRAPH), "POST", validationToken=token) is None


def test_a_token_may_stand_in_the_body() -> None:
    slack = {"method": "POST", "token": "body.challenge", "answer": {"challenge": "{{ token }}"}}
    body = b'{"type": "url_verification", "challenge": "abc"}'
    assert asked(events(challenge=slack), "POST", body) == {"challenge": "abc"}
    assert asked(events(challenge=slack), "POST", b"<html>") is None
    assert asked(events(challenge=slack), "POST", b'{"challenge": {"a": 1}}') is None


def test_a_signature_proves_that_we_know_the_secret() -> None:
    assert asked(events(challenge=CRC), crc="abc-1_2") == {"response_token": mac("abc-1_2")}


def test_glpi_is_answered_only_where_it_proves_itself() -> None:
    declared = Events.model_validate({"auth": "glpi", "ticket": "item.id"})
    token = mac("validate_cra_challenge")
    assert asked(declared, crc_token=token) == mac(token)
    other = mac("validate_cra_challenge", b"another")
    assert asked(declared, crc_token=other) == mac(other, b"another")
    assert asked(declared, crc_token=mac("something else")) is None
    assert asked(declared, crc_token="abc") is None


@pytest.mark.parametrize("signed", ["{body}", "{timestamp}.{body}", "{body}{timestamp}"])
def test_no_challenge_signs_an_event(signed: str) -> None:
    """Whoever asks for the signature of an event under way as a challenge gets none."""
    stamp = {} if signed == "{body}" else {"timestamp_header": "X-Time"}
    declared = events(challenge=CRC, signed=signed, **stamp)
    body = b'{"id":"7"}'
    message = signed.replace("{timestamp}", "1800000000").replace("{body}", body.decode())
    assert asked(declared, crc=message) is None
    assert asked(declared, crc=f"a.{message}") is None
    # the negative control: with that signature the event would have been taken
    headers = {"X-Sig": mac(message), "X-Time": "1800000000"}
    reader = EventReader(declared, lambda: [SECRET])
    assert reader.read(headers, body, now=1_800_000_000_000).refs == ("7",)
    with pytest.raises(UnauthorizedError):
        reader.read({**headers, "X-Sig": mac("else")}, body, now=1_800_000_000_000)


@pytest.mark.parametrize("token", ["a.b.c", "eyJhbGciOiJIUzI1NiJ9.e30", "7", "a b", '{"id":7}'])
def test_nothing_that_a_proof_could_be_made_of_is_signed(token: str) -> None:
    answer = asked(events(challenge=CRC), crc=token)
    assert answer is None or token == "7"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"challenge": {**CRC, "answer": "hello"}}, "mentions neither token nor signature"),
        ({"challenge": {**CRC, "answer": "{{ tokn }}"}}, "did you mean 'token'"),
        ({"challenge": CRC, "auth": "static_header"}, "needs auth: hmac"),
        ({"challenge": {**CRC, "proves": "x"}, "auth": "basic"}, "needs auth: hmac"),
        ({"challenge": CRC, "algorithm": "ed25519", "key_format": "hex"}, "no public key"),
        ({"challenge": {**CRC, "method": "PUT"}}, "'GET' or 'POST'"),
    ],
)
def test_a_challenge_that_cannot_work_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        events(**changes)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_program_answers_before_the_first_event(open_rig: OpenRig, method: str) -> None:
    def declared(url: str) -> dict[str, Any]:
        tree = desk_tree(url)
        challenge = {**GRAPH, "method": method}
        return tree | {"events": tree["events"] | {"challenge": challenge}}

    async with open_rig(declare=declared) as rig, aiohttp.ClientSession() as session:
        url = f"{rig.url}/ticket-events/desk"
        token = {"validationToken": "<script>alert(1)</script>"}
        async with session.request(method, url, params=token) as answer:
            assert (answer.status, await answer.text()) == (200, token["validationToken"])
            assert answer.content_type == "text/plain"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for where, query in ((url, {}), (f"{rig.url}/ticket-events/nobody", token)):
            async with session.request(method, where, params=query) as answer:
                assert answer.status == 401
                assert EVENT_SECRET not in await answer.text()


async def test_an_event_with_a_token_beside_it_is_an_event(open_rig: OpenRig) -> None:
    def declared(url: str) -> dict[str, Any]:
        tree = desk_tree(url)
        challenge = {"method": "POST", "token": "body.ticket.id", "answer": "{{ token }}"}
        return tree | {"events": tree["events"] | {"challenge": challenge}}

    async with open_rig(declare=declared) as rig:
        call = await rig.ask()
        await rig.work()
        rig.desk.decide(rig.tickets()[0]["id"], "approved")
        await rig.desk.events_sent()
        assert 'result="taken",system="desk"} 1.0' in rig.program.metrics.text().decode()
        await rig.work(after=1_000)
        assert rig.final(call) is not None
