"""A short run of `make fuzz`, and that it finds what is broken."""

import random

import pytest

from proxy.net import urls
from proxy.net.urls import CallbackPrefix
from proxy.tickets.events.proofs import Signature
from proxy.witboost import hook_call
from tests.fuzzing.mutations import Mutations
from tests.fuzzing.targets import TARGETS

INPUTS = 5_000


def run(name: str, *, seed: int, inputs: int) -> None:
    mutations = Mutations(seed)
    for _ in range(inputs):
        TARGETS[name](mutations)


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_promise(name: str) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it where the test fails
    run(name, seed=seed, inputs=INPUTS)


def breaks(name: str) -> None:
    with pytest.raises(AssertionError):
        run(name, seed=1, inputs=INPUTS * 4)


def test_a_verifier_that_forgets_the_body_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Signature, "is_valid", lambda *_, **__: True)
    breaks("event proof")


def test_a_policy_that_decodes_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "_decoded", lambda path: path)
    breaks("callback URL")


def test_a_policy_that_compares_only_a_beginning_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CallbackPrefix, "covers", lambda self, url: url.startswith(self.origin))
    breaks("callback URL")


def test_a_reader_that_minds_the_spelling_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_call, "_content", lambda _tree, body, _problems: body.hex())
    breaks("hook body")
