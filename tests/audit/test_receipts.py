"""Receipts of decisions: signed, verified offline, and still so after the keys have changed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.audit.receipts import RECEIPT, sha256
from proxy.cli import main
from proxy.domain.schedule import DAY
from proxy.security.key_ring import new_key
from proxy.security.signing import Verifier, key_set, new_signing_key, signer
from tests.conftest import OpenRig
from tests.support.rig import OPERATOR_KEY, Rig, get_json, post_json

SECOND = 1_000
ENCRYPTION = {"keys": [{"id": "k1", "key": new_key()}], "index_key": new_key()}


@pytest.fixture
async def rig(open_rig: OpenRig) -> AsyncIterator[Rig]:
    async with open_rig(encryption=ENCRYPTION) as rig:
        yield rig


async def decided(rig: Rig, decision: str = "approved") -> str:
    call = await rig.ask()
    await rig.work()
    rig.desk.decide(rig.tickets()[-1]["id"], decision, by="olga", comment="fine with me")
    await rig.work(after=2 * SECOND)
    return str(call.correlation_id)


async def receipt_of(rig: Rig, request: str) -> str:
    status, page = await get_json(f"{rig.url}/api/requests/{request}/receipt", OPERATOR_KEY)
    assert status == 200, page
    return str(page["receipt"])


async def published(rig: Rig) -> bytes:
    status, keys = await get_json(f"{rig.url}/api/signing-keys", OPERATOR_KEY)
    assert status == 200
    return orjson.dumps(keys)


async def test_a_receipt_says_who_decided_what_when_and_by_which_ticket(rig: Rig) -> None:
    """Nothing else, and what people wrote as a hash: a receipt may be passed on."""
    request = await decided(rig)
    token = await receipt_of(rig, request)
    said = Verifier.of(await published(rig)).open(token, kind=RECEIPT)
    entry = await rig.program.store.load(request)
    assert entry is not None
    record = entry.record
    (ticket,) = rig.tickets()
    assert said == {
        "iss": "https://approval.example.com",
        "receipt": 1,
        "correlationId": request,
        "asked": {
            "sha256": sha256(entry.payload),
            "at": "2026-01-01T00:00:00.000Z",
            "instance": "main",
            "client": "witboost",
            "requestId": record.request_id,
        },
        "route": record.route,
        "ticket": {
            "system": "desk",
            "id": ticket["id"],
            "key": ticket["key"],
            "nativeStatus": "approved",
        },
        "decision": {
            "decision": "approved",
            "by": "olga",
            "at": "2026-01-01T00:00:02.000Z",
            "evidence": f"desk {ticket['key']}: approved",
            "commentSha256": sha256(b"fine with me"),
        },
        "told": {
            "status": "OK",
            "at": "2026-01-01T00:00:02.000Z",
            "sha256": sha256(entry.details.callback.encode()),
        },
    }
    assert await receipt_of(rig, request) == token, "the same request has the same receipt"


async def test_a_receipt_names_the_operators_who_had_a_say_and_not_why(open_rig: OpenRig) -> None:
    """The approval was released, and that the access is there was said, by an operator."""
    routes = [{"name": "default", "system": "desk", "callback_on": "fulfilment"}]
    async with open_rig(encryption=ENCRYPTION, routes=routes) as rig:
        call = await rig.ask()
        await rig.work()
        rig.desk.decide(rig.tickets()[-1]["id"], "approved", by="john.doe@company.com")
        await rig.work(after=2 * SECOND)
        for _ in range(2):
            url = f"{rig.url}/api/requests/{call.correlation_id}/release"
            assert (await post_json(url, OPERATOR_KEY, {"reason": "seen by me"}))[0] == 200
            await rig.work()
        token = await receipt_of(rig, str(call.correlation_id))
        said = Verifier.of(await published(rig)).open(token, kind=RECEIPT)
    assert said["fulfilment"] == "fulfilled"
    assert said["decision"]["evidence"] == (
        "desk DESK-1: approved; released by alice; fulfilled, says operator alice"
    )
    assert "seen by me" not in orjson.dumps(said).decode()


async def test_an_undecided_request_has_none(rig: Rig) -> None:
    call = await rig.ask()
    url = f"{rig.url}/api/requests/{call.correlation_id}/receipt"
    status, page = await get_json(url, OPERATOR_KEY)
    assert (status, "no decision yet" in page["detail"]) == (400, True)


async def test_strangers_get_none(rig: Rig) -> None:
    request = await decided(rig)
    for path in (f"requests/{request}/receipt", "signing-keys"):
        status, _ = await get_json(f"{rig.url}/api/{path}", "ap_wrong")
        assert status == 401


async def test_a_receipt_can_be_issued_from_the_audit_when_the_request_is_gone(
    rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The request goes with its retention; what its receipt says stays as long as the audit."""
    request = await decided(rig, "rejected")
    before = await receipt_of(rig, request)
    await rig.program.sealer().seal()
    await rig.work(after=91 * DAY)
    assert await rig.program.store.load(request) is None
    config = str(tmp_path / "approval-proxy.yaml")
    command = ["receipts", "issue", request, "--config", config]
    assert await asyncio.to_thread(main, command) == 0
    assert capsys.readouterr().out.strip() == before
    assert await asyncio.to_thread(main, ["receipts", "issue", "ar1", "--config", config]) == 1
    assert "the audit knows no request ar1" in capsys.readouterr().err


async def test_old_receipts_stay_verifiable_after_a_rotation(open_rig: OpenRig) -> None:
    former, new = new_signing_key(), new_signing_key()
    async with open_rig(signing={"keys": [former]}) as rig:
        namespace = rig.program.store.keys.namespace
        old = await receipt_of(rig, await decided(rig))
        [earlier] = rig.tickets()
    async with open_rig(signing={"keys": [new]}, store={"namespace": namespace}) as rig:
        rig.desk.tickets.add(earlier, pages=rig.desk.url, now=rig.clock.now())  # it is still there
        verifier = Verifier.of(await published(rig))
        fresh = await receipt_of(rig, await decided(rig))
    assert verifier.open(old, kind=RECEIPT)
    assert verifier.open(fresh, kind=RECEIPT)
    # control: with the new key alone the old receipt is not valid
    only_new = Verifier.of(key_set(signer([new]).published))
    assert only_new.open(fresh, kind=RECEIPT)
    with pytest.raises(ValueError, match="no published key"):
        only_new.open(old, kind=RECEIPT)


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, Any]:
    """A receipt, its keys and its hook call in files, as somebody keeps them."""
    ours = signer([new_signing_key()])
    body = b'{"respondToUrl":"https://w.example.com/1","fields":{}}'
    content = {"correlationId": "ar1", "asked": {"sha256": sha256(body)}}
    (tmp_path / "keys.json").write_bytes(key_set(ours.published))
    (tmp_path / "call.json").write_bytes(body)
    receipt = tmp_path / "receipt.jws"
    receipt.write_text(ours.sign(content, kind=RECEIPT) + "\n")
    return {"folder": tmp_path, "receipt": receipt, "signer": ours}


def verify(kept: dict[str, Any], *more: str) -> int:
    keys = str(kept["folder"] / "keys.json")
    return main(["receipts", "verify", str(kept["receipt"]), "--keys", keys, *more])


def test_the_command_verifies_offline(
    kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(kept, "--request", str(kept["folder"] / "call.json")) == 0
    assert '"correlationId": "ar1"' in capsys.readouterr().out


def test_the_receipt_of_another_hook_call_is_found(
    kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    other = kept["folder"] / "other.json"
    other.write_bytes(b"{}")
    assert verify(kept, "--request", str(other)) == 1
    assert "another hook call" in capsys.readouterr().out


def test_an_edited_receipt_is_found(
    kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    head, body, signature = kept["receipt"].read_text().split(".")
    kept["receipt"].write_text(f"{head}.{body[:-2]}AA.{signature}")
    assert verify(kept) == 1
    assert "NOT VALID" in capsys.readouterr().out


def test_a_receipt_of_another_key_is_found(
    kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = signer([new_signing_key()])
    kept["receipt"].write_text(theirs.sign({"correlationId": "ar1"}, kind=RECEIPT))
    assert verify(kept) == 1
    assert "no published key has signed it" in capsys.readouterr().out


def test_something_else_that_was_signed_is_no_receipt(
    kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    kept["receipt"].write_text(kept["signer"].sign({"lines": 1}, kind="audit-head+jws"))
    assert verify(kept) == 1
    assert "not approval-receipt+jws" in capsys.readouterr().out


def test_published_keys_hold_nothing_private() -> None:
    published = key_set(signer([new_signing_key()]).published)
    assert not {"d", "k"} & set(orjson.loads(published)["keys"][0])
