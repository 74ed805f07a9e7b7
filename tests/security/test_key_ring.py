import base64
import subprocess
import sys

import pytest

from proxy.errors import ConfigurationError
from proxy.security.key_ring import KeyRing, new_key, read_key

OLD = ("2025", b"o" * 32)
NEW = ("2026", b"n" * 32)
PLACE = "ap:token:{abc}"


def test_what_is_sealed_opens_at_its_place() -> None:
    ring = KeyRing([NEW])
    sealed = ring.seal(b"canary", place=PLACE)
    assert ring.open(sealed, place=PLACE) == b"canary"
    assert b"canary" not in sealed
    assert ring.seal(b"canary", place=PLACE) != sealed


def test_no_nonce_is_drawn_twice() -> None:
    ring = KeyRing([NEW])
    sealed = [ring.seal(b"canary", place=PLACE) for _ in range(1_000)]
    assert len(set(sealed)) == len(sealed)


FORK = """
import os
from proxy.security.key_ring import KeyRing
ring = KeyRing([("2026", bytes(32))])
ring.seal(b"canary", place="here")
if child := os.fork():
    os.waitpid(child, 0)
print(ring.seal(b"canary", place="here").decode(), flush=True)
"""


def test_a_process_that_was_forked_off_draws_its_own_nonces() -> None:
    said = subprocess.run([sys.executable, "-c", FORK], check=True, capture_output=True, text=True)
    assert len(set(said.stdout.split())) == 2


def test_the_first_key_encrypts_and_every_key_decrypts() -> None:
    sealed = KeyRing([OLD]).seal(b"canary", place=PLACE)
    ring = KeyRing([NEW, OLD])
    assert ring.open(sealed, place=PLACE) == b"canary"
    assert ring.seal(b"canary", place=PLACE).startswith(b"2026.")


def test_a_value_moved_to_another_place_does_not_open() -> None:
    ring = KeyRing([NEW])
    sealed = ring.seal(b"canary", place=PLACE)
    with pytest.raises(ConfigurationError, match="2026"):
        ring.open(sealed, place="ap:token:{abd}")


def test_no_bit_can_be_changed() -> None:
    ring = KeyRing([NEW, OLD])
    sealed = ring.seal(b"canary", place=PLACE)
    name, _, text = sealed.partition(b".")
    whole = base64.urlsafe_b64decode(text)
    for bit in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ConfigurationError, match="2026"):
            ring.open(name + b"." + base64.urlsafe_b64encode(changed), place=PLACE)


def test_a_value_under_the_name_of_another_key_does_not_open() -> None:
    ring = KeyRing([NEW, ("2025", NEW[1])])  # even where the key is the same
    sealed = ring.seal(b"canary", place=PLACE)
    with pytest.raises(ConfigurationError, match="2025"):
        ring.open(b"2025" + sealed[4:], place=PLACE)


@pytest.mark.parametrize(
    ("sealed", "said"),
    [
        (b"2024.AAAA", "2024"),
        (b"2026.", "2026"),
        (b"2026.AAAA", "2026"),
        (b"2026.A\xff*", "2026"),
        (b"plain", "plain"),
        (b"", "nothing that was encrypted"),
        (b"\xff\xfe.x", "nothing that was encrypted"),
    ],
)
def test_what_does_not_open_is_named(sealed: bytes, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        KeyRing([NEW]).open(sealed, place=PLACE)
    assert PLACE in str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [[], [("a b", b"k" * 32)], [("", b"k" * 32)], [("a", b"k" * 31)], [NEW, NEW]],
    ids=["none", "blank", "nameless", "short", "twice"],
)
def test_what_is_no_ring_is_refused(keys: list[tuple[str, bytes]]) -> None:
    with pytest.raises(ConfigurationError, match="encryption"):
        KeyRing(keys)


def test_a_new_key_can_be_read() -> None:
    assert len(read_key(f" {new_key()}\n")) == 32
    assert new_key() != new_key()


@pytest.mark.parametrize("text", ["", "canary", "Y2FuYXJ5", "ü" * 44])
def test_what_is_no_key_is_not_quoted(text: str) -> None:
    with pytest.raises(ConfigurationError, match="32 random bytes") as caught:
        read_key(text)
    assert not text or text not in str(caught.value)
