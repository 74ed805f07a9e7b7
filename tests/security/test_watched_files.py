import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.audit.files import Folder
from proxy.security.key_ring import kept_key
from proxy.security.watched_files import EVERY, WatchedFiles
from tests.support.manual_clock import ManualClock

SECOND = 1_000


def watching(clock: ManualClock, *paths: Path) -> WatchedFiles:
    return WatchedFiles(*paths, monotonic=lambda: clock.monotonic() / 1_000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("one", encoding="utf-8")
    return path


def _rewrite(path: Path) -> None:
    path.write_text("another", encoding="utf-8")


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("two", encoding="utf-8")
    other.replace(path)


def _replace_by_one_of_the_same_age_and_size(path: Path) -> None:
    before = path.stat()
    _replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _age(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize(
    "change",
    [_rewrite, _replace, _replace_by_one_of_the_same_age_and_size, _age, Path.unlink],
)
def test_a_change_is_reported_once(
    change: Callable[[Path], None], file: Path, clock: ManualClock
) -> None:
    watched = watching(clock, file)
    clock.advance(SECOND)
    assert not watched.changed()

    change(file)
    clock.advance(SECOND)

    assert watched.changed()
    clock.advance(SECOND)
    assert not watched.changed()


def test_a_file_that_comes_back_as_it_was_has_changed_again(file: Path, clock: ManualClock) -> None:
    watched = watching(clock, file)
    away = file.rename(file.with_name("away"))
    clock.advance(SECOND)
    assert watched.changed()

    away.rename(file)
    clock.advance(SECOND)

    assert watched.changed()


def test_repaired_permissions_are_a_change(file: Path, clock: ManualClock) -> None:
    watched = watching(clock, file)

    file.chmod(0o640)
    clock.advance(SECOND)

    assert watched.changed()


def test_a_swapped_link_to_a_folder_is_a_change(tmp_path: Path, clock: ManualClock) -> None:
    """Kubernetes: the file is a link into `..data`, itself a link that is replaced."""
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "secret").write_text("same", encoding="utf-8")
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "secret").symlink_to("..data/secret")
    watched = watching(clock, tmp_path / "secret")

    (tmp_path / "..new").symlink_to("v2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    clock.advance(SECOND)

    assert watched.changed()


def test_any_of_several_files_counts(file: Path, tmp_path: Path, clock: ManualClock) -> None:
    other = tmp_path / "other"
    other.touch()
    watched = watching(clock, other, file)

    _replace(file)
    clock.advance(SECOND)

    assert watched.changed()


def test_files_are_checked_once_a_second_however_often_they_are_used(
    file: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, checked, stat = watching(clock, file), [], Path.stat

    def counted(path: Path) -> os.stat_result:
        checked.append(path)
        return stat(path)

    monkeypatch.setattr(Path, "stat", counted)
    for _ in range(50):
        watched.changed()
        clock.advance(100)

    assert EVERY == 1.0
    assert len(checked) == 4


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files and folders that were synced, in order."""
    names: list[str] = []
    fsync = os.fsync

    def wait(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", wait)
    return names


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_key_is_on_the_disk_with_its_name(tmp_path: Path, synced: list[str]) -> None:
    """A power cut that keeps the store must not lose its key."""
    key = kept_key(tmp_path / "encryption.key")
    assert synced == ["encryption.key.new", tmp_path.name]
    assert kept_key(tmp_path / "encryption.key") == key
    assert len(synced) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_lines_of_the_audit_are_on_the_disk_with_the_name_of_their_file(
    tmp_path: Path, synced: list[str]
) -> None:
    """Lines that are in the files leave Redis, so they must survive a power cut."""
    folder = Folder(tmp_path / "audit")
    for number in (1, 2):
        folder.append(number, [b"{}"])
        folder.publish("head.json", b"{}")
    [file] = folder.files()
    first, second = [file.path.name, "audit", "head.json.new"], [file.path.name, "head.json.new"]
    assert synced == [*first, *second]
