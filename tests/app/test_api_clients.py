"""What the settings say of who may call."""

from pathlib import Path

from proxy.app import api_clients
from proxy.domain.schedule import DAY
from proxy.settings import load
from tests.support.example_settings import write_example


def test_keys_that_end_soon_are_told_by_their_client(tmp_path: Path) -> None:
    key = '[{"hash": "sha256:' + "0" * 64 + '", "expires": "1970-02-01"}]'
    settings = load(
        write_example(tmp_path), {"APPROVAL_PROXY__WITBOOST__MAIN__CLIENTS__WITBOOST__KEYS": key}
    )
    ends = 32 * DAY  # the first of February is the 32nd day
    assert list(api_clients.expiring_keys(settings, ends - 14 * DAY - 1)) == []
    [soon] = api_clients.expiring_keys(settings, ends - 14 * DAY)
    assert soon.startswith("A key of witboost.main.clients.witboost expires soon (expires: 1970-02")
    [over] = api_clients.expiring_keys(settings, ends)
    assert "has expired (expires" in over
