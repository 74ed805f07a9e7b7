"""Every settings error says `file:line:column`, the key, what was found and what is expected.

A case replaces one line of a small settings file. A `@@` in the new text marks the place that the
message must name; it is removed before the file is written.
"""

from pathlib import Path

import pytest

from proxy.errors import SettingsError
from proxy.settings import load

SETTINGS = """\
public_url: https://approval.example.com
listen:
  port: 8080
  trusted_proxies: []
store:
  redis_url: redis://redis:6379/0
  partitions: 8
  fsync: always
worker:
  lease: 60s
  margin: 5s
limits:
  body: 256KiB
  depth: 32
logs:
  level: info
  access: true
encryption:
  keys: []
outbound:
  loopback: false
identities:
  rules: []
witboost:
  main:
    callback_urls: [https://witboost.example.com/api]
    authentication: keys
    credential: {kind: none}
    networks: []
    clients:
      hook:
        keys: ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]
ticket_systems:
  desk:
    kind: rest
    base_url: https://desk.example.com
    deadline: 10s
    concurrency: 16
    auth:
      kind: header
      name: X-Key
      value: canary-secret-value
    create: {path: /tickets, body: {reference: "{{ correlation_id }}"}, ticket: ticket}
    find: {path: /tickets, query: {ref: "{{ correlation_id }}"}, tickets: tickets, match: reference}
    read: {path: "/tickets/{{ ticket.id }}", ticket: ticket}
    ticket: {id: id, key: key, status: status, decided_by: decided_by}
    decision: {new: pending, approved: approved}
routes:
  - name: default
    system: desk
    decision_deadline: 30d
    on_deadline: reject
    poll: {first: 1s, factor: 1.5, slowest: 5m}
"""

CASES: list[tuple[str, str, list[str]]] = [
    (
        "public_url: https://approval.example.com",
        "@@public_url: approval.example.com",
        [
            "public_url: found 'approval.example.com', not a web address (expected https://host or https://host/path, without user, password, query and fragment)"
        ],
    ),
    (
        "public_url: https://approval.example.com",
        "@@public_url: ftp://approval.example.com",
        [
            "public_url: found 'ftp://approval.example.com', not a web address (expected https://host or https://host/path, without user, password, query and fragment)"
        ],
    ),
    (
        "public_url: https://approval.example.com",
        "@@public_url: https://user:canary-password@approval.example.com",
        [
            "public_url: found 'https://********@approval.example.com', not a web address (expected https://host or https://host/path, without user, password, query and fragment)"
        ],
    ),
    (
        "public_url: https://approval.example.com",
        "@@public_url: 5",
        ["public_url: found 5, must be a valid string"],
    ),
    (
        "public_url: https://approval.example.com",
        "@@public_url: ''",
        [
            "public_url: found '', not a web address (expected https://host or https://host/path, without user, password, query and fragment)"
        ],
    ),
    (
        "public_url: https://approval.example.com",
        "@@publc_url: https://approval.example.com",
        [
            "public_url: missing; set it in the settings file or as APPROVAL_PROXY__PUBLIC_URL",
            "publc_url: unknown key; did you mean public_url?",
        ],
    ),
    (
        "  port: 8080",
        "  @@port: 70000",
        ["listen.port: found 70000, must be less than or equal to 65535"],
    ),
    (
        "  port: 8080",
        "  @@port: http",
        [
            "listen.port: found 'http', must be a valid integer, unable to parse string as an integer"
        ],
    ),
    ("  port: 8080", "  @@prot: 8080", ["listen.prot: unknown key; did you mean listen.port?"]),
    (
        "  trusted_proxies: []",
        "  @@trusted_proxies: [intranet]",
        [
            "listen.trusted_proxies: 'intranet' is not a network (expected 10.0.0.0/8, fd12:3456::/32 or private)"
        ],
    ),
    (
        "  trusted_proxies: []",
        "  @@trusted_proxies: 10.0.0.0/8",
        ["listen.trusted_proxies: found a text, must be a list, [one, two]"],
    ),
    (
        "  redis_url: redis://redis:6379/0",
        "  @@redis_url: http://:canary-password@redis",
        [
            "store.redis_url: found a secret of 29 characters, not the URL of a Redis server (expected redis://host:6379/0, rediss:// for TLS, redis+sentinel://host:26379,host:26379/name-of-the-master, redis+cluster://host:6379,host:6379 or unix:///path); percent-encode special characters of a password"
        ],
    ),
    (
        "  redis_url: redis://redis:6379/0",
        "  @@redis_url: {vault: canary-secret}",
        [
            "store.redis_url: not a secret: write the secret as quoted text, {file: /run/secrets/name} or {env: NAME}"
        ],
    ),
    (
        "  partitions: 8",
        "  @@partitions: 0",
        ["store.partitions: found 0, must be greater than or equal to 1"],
    ),
    (
        "  partitions: 8",
        "  @@partitions: many",
        [
            "store.partitions: found 'many', must be a valid integer, unable to parse string as an integer"
        ],
    ),
    (
        "  fsync: always",
        "  @@fsync: sometimes",
        ["store.fsync: found 'sometimes', must be 'always' or 'everysec'"],
    ),
    (
        "  lease: 60s",
        "  @@lease: 60",
        [
            "worker.lease: '60' has no unit: write whole numbers with units, biggest first, such as 500ms, 10s, 5m, 1h30m or 30d"
        ],
    ),
    (
        "  lease: 60s",
        "  @@lease: long",
        [
            "worker.lease: 'long' is not a duration: write whole numbers with units, biggest first, such as 500ms, 10s, 5m, 1h30m or 30d"
        ],
    ),
    ("  lease: 60s", "  @@lease: 0s", ["worker.lease: found '0s', must be longer than 0"]),
    (
        "  lease: 60s",
        "  @@lease: 8s",
        [
            "worker.lease: 8s is too short: it must exceed ticket_systems.desk.deadline (10s) and worker.margin (5s) together; raise the lease or lower that deadline (ticket_systems.desk.deadline is set at {file}:37:5; worker.margin is set at {file}:11:3)",
            "worker.lease: 8s is too short: it must exceed witboost.main.callback.deadline (10s) and worker.margin (5s) together; raise the lease or lower that deadline (worker.margin is set at {file}:11:3)",
        ],
    ),
    (
        "  lease: 60s",
        "  @@lease: [60s]",
        [
            "worker.lease: found a list, must be a duration: write whole numbers with units, biggest first, such as 500ms, 10s, 5m, 1h30m or 30d"
        ],
    ),
    (
        "  body: 256KiB",
        "  @@body: lots",
        ["limits.body: found 'lots', could not parse value and unit from byte string"],
    ),
    ("  depth: 32", "  @@depth: 3", ["limits.depth: found 3, must be greater than or equal to 4"]),
    (
        "  level: info",
        "  @@level: loud",
        ["logs.level: found 'loud', must be 'debug', 'info', 'warning' or 'error'"],
    ),
    (
        "  access: true",
        "  @@access: maybe",
        ["logs.access: found 'maybe', must be a valid boolean, unable to interpret input"],
    ),
    (
        "  keys: []",
        "  keys: [@@canary-secret]",
        [
            "encryption.keys.0: found a text, must be a section of `name: value` lines, or in the environment JSON"
        ],
    ),
    (
        "  keys: []",
        "  keys: [@@{id: key1}]",
        [
            "encryption.keys.0.key: missing; set it in the settings file or as APPROVAL_PROXY__ENCRYPTION__KEYS__0__KEY"
        ],
    ),
    (
        "  loopback: false",
        "  @@loopback: sometimes",
        [
            "outbound.loopback: found 'sometimes', must be a valid boolean, unable to interpret input"
        ],
    ),
    (
        "  rules: []",
        '  rules: [@@{match: "{a}", email: "{b}@example.com"}]',
        ["identities.rules.0: {b} is not a placeholder of match"],
    ),
    (
        "    callback_urls: [https://witboost.example.com/api]",
        "    @@callback_urls: []",
        ["witboost.main.callback_urls: empty: at least one is required"],
    ),
    (
        "    callback_urls: [https://witboost.example.com/api]",
        "    callback_urls: [@@witboost.example.com]",
        [
            "witboost.main.callback_urls.0: found 'witboost.example.com', not a web address (expected https://host or https://host/path, without user, password, query and fragment)"
        ],
    ),
    (
        "    authentication: keys",
        "    @@authentication: none",
        ["witboost.main.authentication: found 'none', must be 'keys' or 'off'"],
    ),
    (
        "    credential: {kind: none}",
        "    credential: {@@kind: magic}",
        [
            "witboost.main.credential.kind: found 'magic', must be one of 'access_token', 'shared_secret', 'static_bearer', 'none'"
        ],
    ),
    (
        "    credential: {kind: none}",
        "    @@credential: {}",
        [
            "witboost.main.credential.url: missing; set it in the settings file or as APPROVAL_PROXY__WITBOOST__MAIN__CREDENTIAL__URL",
            "witboost.main.credential.access_token: missing; set it in the settings file or as APPROVAL_PROXY__WITBOOST__MAIN__CREDENTIAL__ACCESS_TOKEN",
        ],
    ),
    (
        "    networks: []",
        "    @@networks: [169.254.0.0/16]",
        [
            "witboost.main.networks: 169.254.0.0/16 cannot be opened: loopback, link-local, multicast, reserved and cloud metadata addresses are never called (remove it)"
        ],
    ),
    (
        '        keys: ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]',
        "        keys: [@@canary-key]",
        [
            "witboost.main.clients.hook.keys.0.hash: not the hash of a key: `approval-proxy keys new` makes a key and prints the line (sha256: and 64 hex digits) that belongs here; the key itself belongs to the client"
        ],
    ),
    (
        "    kind: rest",
        "    @@kind: fax",
        ["ticket_systems.desk.kind: found 'fax', must be one of 'rest', 'servicenow', 'jira'"],
    ),
    (
        "    base_url: https://desk.example.com",
        "    @@base_url: desk.example.com",
        [
            "ticket_systems.desk.base_url: found 'desk.example.com', must be an http or https URL with a host"
        ],
    ),
    (
        "    deadline: 10s",
        "    @@deadline: -1s",
        [
            "ticket_systems.desk.deadline: '-1s' is not a duration: write whole numbers with units, biggest first, such as 500ms, 10s, 5m, 1h30m or 30d"
        ],
    ),
    (
        "    concurrency: 16",
        "    @@concurrency: 0",
        ["ticket_systems.desk.concurrency: found 0, must be greater than or equal to 1"],
    ),
    (
        "      name: X-Key",
        '      @@name: "X Key"',
        ["ticket_systems.desk.auth.name: 'X Key' is not a header name"],
    ),
    (
        "      value: canary-secret-value",
        "      @@value: {env: CANARY_NOT_SET}",
        [
            "ticket_systems.desk.auth.value: environment variable CANARY_NOT_SET is not set: set it, or name another"
        ],
    ),
    (
        "      value: canary-secret-value",
        "      @@value: ''",
        [
            "ticket_systems.desk.auth.value: found a secret of 0 characters, the value is empty: write the secret as quoted text, {file: /run/secrets/name} or {env: NAME}"
        ],
    ),
    (
        '    create: {path: /tickets, body: {reference: "{{ correlation_id }}"}, ticket: ticket}',
        '    @@create: {path: tickets, body: {reference: "{{ correlation_id }}"}, ticket: ticket}',
        [
            "ticket_systems.desk.create: path must begin with one / and hold no ?, #, space or dot segment: it is below base_url"
        ],
    ),
    (
        '    create: {path: /tickets, body: {reference: "{{ correlation_id }}"}, ticket: ticket}',
        '    create: {path: /tickets, body: {reference: "{{ correlation_id }}"}, @@ticket: "tickets["}',
        [
            "ticket_systems.desk.create.ticket: 'tickets[' is not a JMESPath expression: Invalid jmespath expression: Incomplete expression:"
        ],
    ),
    (
        '    find: {path: /tickets, query: {ref: "{{ correlation_id }}"}, tickets: tickets, match: reference}',
        '    find: {@@path: 5, query: {ref: "{{ correlation_id }}"}, tickets: tickets, match: reference}',
        ["ticket_systems.desk.find.path: found 5, must be a valid string"],
    ),
    (
        "    decision: {new: pending, approved: approved}",
        "    decision: {new: pending, @@approved: granted}",
        [
            "ticket_systems.desk.decision.approved: found 'granted', must be 'pending', 'approved', 'rejected', 'cancelled' or 'failed'"
        ],
    ),
    (
        "    system: desk",
        "    @@system: dsk",
        ["routes.0.system: no ticket system is named 'dsk'; did you mean desk?"],
    ),
    ("    system: desk", "    @@system: 5", ["routes.0.system: found 5, must be a valid string"]),
    (
        "    decision_deadline: 30d",
        "    @@decision_deadline: 1 month",
        [
            "routes.0.decision_deadline: '1 month' is not a duration: write whole numbers with units, biggest first, such as 500ms, 10s, 5m, 1h30m or 30d"
        ],
    ),
    (
        "    on_deadline: reject",
        "    @@on_deadline: wait",
        ["routes.0.on_deadline: found 'wait', must be 'reject', 'fail' or 'hold'"],
    ),
    (
        "    poll: {first: 1s, factor: 1.5, slowest: 5m}",
        "    poll: {@@first: 10m, factor: 1.5, slowest: 5m}",
        [
            "routes.0.poll.first: 10m is longer than poll.slowest (5m); reads start fast and slow down"
        ],
    ),
    (
        "    poll: {first: 1s, factor: 1.5, slowest: 5m}",
        "    poll: {first: 1s, @@factor: 0.5, slowest: 5m}",
        ["routes.0.poll.factor: found 0.5, must be greater than or equal to 1"],
    ),
    (
        "    poll: {first: 1s, factor: 1.5, slowest: 5m}",
        "    poll: {first: 1s, @@frist: 1s}",
        ["routes.0.poll.frist: unknown key; did you mean routes.0.poll.first?"],
    ),
    (
        "    deadline: 10s",
        "    @@deadlin: 10s",
        ["ticket_systems.desk.deadlin: unknown key; did you mean ticket_systems.desk.deadline?"],
    ),
    ("logs:", "@@log:", ["log: unknown key; did you mean logs?"]),
    (
        "      kind: header",
        "      @@kind: oauth",
        ["ticket_systems.desk.auth.kind: found 'oauth', must be one of 'oauth2', 'header', 'none'"],
    ),
    (
        "    kind: rest",
        "    @@kind: [rest]",
        ["ticket_systems.desk.kind: found a list, must be one of 'rest', 'servicenow', 'jira'"],
    ),
]


def write(folder: Path, line: str, new: str) -> tuple[Path, str]:
    """Write the settings with another line, and return the file and the marked place."""
    assert line in SETTINGS.splitlines()
    text = SETTINGS.replace(f"{line}\n", f"{new}\n", 1)
    before = text[: text.index("@@")]
    config = folder / "approval-proxy.yaml"
    config.write_text(text.replace("@@", ""), encoding="utf-8")
    column = len(before) - before.rfind("\n")
    return config, f"{config}:{before.count(chr(10)) + 1}:{column}"


def problems(config: Path) -> list[str]:
    with pytest.raises(SettingsError) as refusal:
        load(config, {})
    return refusal.value.problems


def test_the_settings_themselves_are_sound(tmp_path: Path) -> None:
    config = tmp_path / "approval-proxy.yaml"
    config.write_text(SETTINGS, encoding="utf-8")
    assert load(config, {}).public_url == "https://approval.example.com"


@pytest.mark.parametrize(("line", "new", "expected"), CASES, ids=[new for _, new, _ in CASES])
def test_an_error_says_its_place_what_was_found_and_what_is_expected(
    line: str, new: str, expected: list[str], tmp_path: Path
) -> None:
    config, place = write(tmp_path, line, new)
    messages = problems(config)
    assert messages == [
        f"{place}: {message.replace('{file}', str(config))}" for message in expected
    ]
    assert not any("canary" in message for message in messages)


def test_a_variable_is_the_place_of_what_it_sets(tmp_path: Path) -> None:
    config = tmp_path / "approval-proxy.yaml"
    config.write_text(SETTINGS, encoding="utf-8")
    with pytest.raises(SettingsError) as refusal:
        load(config, {"APPROVAL_PROXY__LISTEN__PORT": "70000"})
    assert refusal.value.problems == [
        "environment APPROVAL_PROXY__LISTEN__PORT: listen.port: found '70000', must be less than or equal to 65535"
    ]


def test_a_secret_file_is_named_with_the_place_of_its_key(tmp_path: Path) -> None:
    file = tmp_path / "absent"
    config, place = write(
        tmp_path, "      value: canary-secret-value", f"      @@value: {{file: {file}}}"
    )
    assert problems(config) == [
        f"{place}: ticket_systems.desk.auth.value: file {file} cannot be read (No such file or directory): create it, or name another"
    ]


@pytest.mark.parametrize("lines", [1, 7])
def test_the_place_moves_with_the_line(lines: int, tmp_path: Path) -> None:
    """The negative control: a place that did not come from the file would stay where it was."""
    config, _ = write(tmp_path, "  partitions: 8", "  @@partitions: 0")
    [before] = problems(config)
    config.write_text("# a comment\n" * lines + config.read_text(), encoding="utf-8")
    [after] = problems(config)
    assert before.startswith(f"{config}:7:3: ")
    assert after == before.replace(":7:3: ", f":{7 + lines}:3: ")
