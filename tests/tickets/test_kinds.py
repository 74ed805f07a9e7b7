"""Every kind of ticket system has an adapter, which is imported only when it is used."""

import subprocess
import sys

import pytest

from proxy.tickets.capabilities import Adapter
from proxy.tickets.kinds import KINDS

_ADAPTERS = ", ".join(f"proxy.tickets.{kind}.system" for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_an_adapter_and_a_declaration_of_its_name(kind: str) -> None:
    opened = KINDS[kind]()
    assert issubclass(opened.system, Adapter)
    assert opened.declaration.model_fields["kind"].default == kind


def test_no_adapter_is_imported_before_it_is_used() -> None:
    script = (
        "import sys, proxy.tickets.kinds\n"
        f"print([name for name in {_ADAPTERS!r}.split(', ') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert result.stdout.strip() == b"[]"
