"""Whatever is done to the audit's files is found; and each control is found for its own reason."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from proxy.audit.chain import HEAD, Chain, digest
from proxy.audit.files import HEAD_FILE, KEYS_FILE
from proxy.cli import main
from proxy.cli.commands.audit import examine
from proxy.security.signing import Signer, key_set, new_signing_key, signer

OURS = signer([new_signing_key()])
THEIRS = signer([new_signing_key()])


def batch(chain: Chain, by: Signer, count: int) -> list[bytes]:
    lines = []
    for _ in range(count):
        entry = {"at": 1, "event": "Admitted", "state": "received", "number": chain.lines}
        content = {"stream": "0", "at": f"1-{chain.lines}", "request": "ar1", "entry": entry}
        lines.append(chain.add(content))
    head = by.sign({"lines": chain.lines, "hash": chain.last, "at": 1}, kind=HEAD)
    lines.append(chain.add({"head": head}))
    return lines


def written(folder: Path, by: Signer = OURS, published: Signer = OURS) -> Path:
    """Write two batches of three entries, as the sealer does: lines 1-4 and 5-8."""
    chain = Chain()
    lines = [*batch(chain, by, 3), *batch(chain, by, 3)]
    (folder / "audit-000000000001-1700000000000.jsonl").write_bytes(b"\n".join([*lines, b""]))
    (folder / HEAD_FILE).write_bytes(orjson.dumps({"head": orjson.loads(lines[-1])["head"]}))
    (folder / KEYS_FILE).write_bytes(key_set(published.published))
    return folder


Edit = Callable[[list[bytes]], list[bytes]]


def edited(lines: list[bytes]) -> list[bytes]:
    return [line.replace(b'"number":1', b'"number":9') for line in lines]


def removed(lines: list[bytes]) -> list[bytes]:
    return lines[:1] + lines[2:]


def reordered(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def cut_in_a_batch(lines: list[bytes]) -> list[bytes]:
    return lines[:6]


def cut_behind_a_head(lines: list[bytes]) -> list[bytes]:
    return lines[:4]


def doubled(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[1], *lines[2:]]


def garbled(lines: list[bytes]) -> list[bytes]:
    return [lines[0], b"{", *lines[2:]]


def last_edited(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1].replace(b'"seq":8', b'"seq":9')]


def whole(lines: list[bytes]) -> list[bytes]:
    return lines


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (whole, ""),
        (edited, "line 3: the line before it was changed"),
        (removed, "lines 2 to 2 of the chain are missing"),
        (reordered, "lines 2 to 2 of the chain are missing"),
        (cut_in_a_batch, "a signed head names line 7, but the last line here is 6"),
        (cut_behind_a_head, "a signed head names line 7, but the last line here is 4"),
        (doubled, "line 2 of the chain comes after line 2"),
        (garbled, "not a line of an audit"),
        (last_edited, "lines 8 to 8 of the chain are missing"),
    ],
)
def test_what_is_done_to_the_lines_is_found(tmp_path: Path, edit: Edit, said: str) -> None:
    folder = written(tmp_path)
    (file,) = folder.glob("audit-*")
    lines = edit(file.read_bytes().splitlines())
    file.write_bytes(b"\n".join([*lines, b""]))
    problems = examine(folder).problems
    assert bool(problems) == bool(said)
    assert said in "".join(problems[:1])


@pytest.mark.parametrize(
    ("kept", "problem"),
    [
        ((3, 4, 5), ""),
        ((5, 4, 3), ""),
        ((3, 4, 5, 9), ""),
        ((3, 5), "1 entries are only in an abandoned branch of the chain"),
        ((), "3 entries are only in an abandoned branch of the chain"),
    ],
)
def test_what_was_sealed_again_must_all_be_there_again(
    tmp_path: Path, kept: tuple[int, ...], problem: str
) -> None:
    """A sealer that did not see a batch goes on from the one before, in a file of its own."""
    folder = written(tmp_path)
    (file,) = folder.glob("audit-*")
    lines = file.read_bytes().splitlines()
    chain, entries = Chain(4, digest(lines[3])), {it["seq"]: it for it in map(orjson.loads, lines)}
    branch = []
    for seq in kept:
        content = {**entries.get(seq + 2, {"stream": "1", "at": "9-9", "request": "", "entry": {}})}
        branch.append(chain.add({k: v for k, v in content.items() if k not in {"seq", "prev"}}))
    head = OURS.sign({"lines": chain.lines, "hash": chain.last, "at": 1}, kind=HEAD)
    branch.append(chain.add({"head": head}))
    (folder / "audit-000000000005-1700000000001.jsonl").write_bytes(b"\n".join([*branch, b""]))
    (folder / HEAD_FILE).write_bytes(orjson.dumps({"head": head}))
    report = examine(folder)
    assert [note.partition(": ")[2] for note in report.notes] == [
        "4 lines before it were sealed again"
    ]
    assert "".join(report.problems)[: len(problem) or None] == problem
    assert (report.last, report.signed) == (chain.lines, chain.lines)


def test_a_chain_that_was_made_anew_with_another_key_is_found(tmp_path: Path) -> None:
    """Every hash fits, and the signatures are good: only the published keys are not theirs."""
    folder = written(tmp_path, by=THEIRS)
    assert "no published key has signed it" in examine(folder).problems[0]


def test_swapped_published_keys_are_found_by_whoever_kept_them(tmp_path: Path) -> None:
    folder = written(tmp_path, by=THEIRS, published=THEIRS)
    assert not examine(folder).problems, "nothing in the folder itself can tell"
    trusted = tmp_path / "trusted.json"
    trusted.write_bytes(key_set(OURS.published))
    assert "no published key has signed it" in examine(folder, keys=trusted).problems[0]


def test_a_tail_cut_off_with_its_head_is_found_by_a_head_kept_elsewhere(tmp_path: Path) -> None:
    folder = written(tmp_path)
    kept = tmp_path / "kept.json"
    kept.write_bytes((folder / HEAD_FILE).read_bytes())
    (file,) = folder.glob("audit-*")
    lines = file.read_bytes().splitlines()[:4]
    file.write_bytes(b"\n".join([*lines, b""]))
    (folder / HEAD_FILE).write_bytes(orjson.dumps({"head": orjson.loads(lines[-1])["head"]}))
    assert not examine(folder).problems, "nothing in the folder itself can tell"
    assert "the end is missing" in examine(folder, heads=(kept,)).problems[0]


def test_another_chain_of_ours_is_found_by_a_head_kept_elsewhere(tmp_path: Path) -> None:
    """Whoever has the signing key may write the audit anew, but not the copies of its heads."""
    folder = written(tmp_path)
    kept = tmp_path / "kept.json"
    kept.write_bytes((folder / HEAD_FILE).read_bytes())
    chain = Chain()
    lines = [*batch(chain, OURS, 2), *batch(chain, OURS, 4)]
    (folder / HEAD_FILE).write_bytes(orjson.dumps({"head": orjson.loads(lines[-1])["head"]}))
    (file,) = folder.glob("audit-*")
    file.write_bytes(b"\n".join([*lines, b""]))
    assert not examine(folder).problems, "nothing in the folder itself can tell"
    (problem,) = examine(folder, heads=(kept,)).problems
    assert problem == "line 7 differs from the line that a signed head names"


def test_old_heads_stay_verifiable_after_a_rotation(tmp_path: Path) -> None:
    folder = written(tmp_path, by=THEIRS)
    both = key_set({**OURS.published, **THEIRS.published})
    (folder / KEYS_FILE).write_bytes(both)
    assert not examine(folder).problems


def test_an_unsigned_chain_beside_published_keys_is_found(tmp_path: Path) -> None:
    folder = written(tmp_path)
    chain = Chain()
    lines = [chain.add({"request": "", "entry": {}}), chain.add({"head": {"lines": 1}})]
    (file,) = folder.glob("audit-*")
    file.write_bytes(b"\n".join([*lines, b""]))
    assert "not signed" in "".join(examine(folder).problems)


def test_the_command_prints_problems_and_says_so_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path)
    assert main(["audit", "verify", "--folder", str(folder)]) == 0
    assert "lines 1 to 8, signed up to 8: whole" in capsys.readouterr().out
    (file,) = folder.glob("audit-*")
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[1:]))
    assert main(["audit", "verify", "--folder", str(folder)]) == 1
    assert "PROBLEM  the lines before line 2 are missing" in capsys.readouterr().out
    file.unlink()
    (folder / HEAD_FILE).unlink()
    assert main(["audit", "verify", "--folder", str(folder)]) == 1
    assert "PROBLEM  it has no lines" in capsys.readouterr().out


def test_lines_collected_from_standard_output_are_verified_as_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path)
    (file,) = folder.glob("audit-*")
    collected = file.rename(tmp_path / "worker.log")
    assert main(["audit", "verify", str(collected), "--keys", str(folder / KEYS_FILE)]) == 0
    assert "lines 1 to 8, signed up to 8: whole" in capsys.readouterr().out
    assert main(["audit", "verify", str(collected)]) == 2
    assert "--keys" in capsys.readouterr().err
