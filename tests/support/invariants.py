"""What must hold in the store after every step of every test: indices equal records.

The rule is the program's own, by which `doctor` compares and repairs;
`tests/store/test_index_check.py` shows that it finds each index that is broken by hand.
"""

import re

from proxy.store.index_check import compare_indices
from proxy.store.requests import RequestStore

_KNOWN = re.compile(
    r"(\{[^}]+:\d+\}:(r|p|x|h|s|u|t|c):.+|\{[^}]+:\d+\}:(due|open|audit))"
    r"|.+:(meta|routes|methods|pauses|alarms|changes|audit|credentials|refused|exports|signing|seen:.+|(taking|token|turn):\{.+\})"
    r"|\{.+:logins\}:(refresh|using):.+"
)


async def check_store(store: RequestStore) -> None:
    """Compare every index with the records, and every key with the list in `store/keys.py`."""
    namespace = store.keys.namespace
    names = [name.decode() async for page in store.batcher.scan(f"*{namespace}:*") for name in page]
    names = [name for name in names if name.startswith((f"{namespace}:", f"{{{namespace}:"))]
    unknown = [name for name in names if not _KNOWN.fullmatch(name)]
    assert not unknown, f"keys that store/keys.py does not list: {unknown}"
    for tag, found in (it.split(":r:") for it in names if ":r:" in it):
        assert store.keys.tag_of(found) == tag, f"{found} is in a partition where nobody looks"
    wrong = [f"{it.about}: {it.message}" async for it in compare_indices(store)]
    assert not wrong, "; ".join(wrong)
