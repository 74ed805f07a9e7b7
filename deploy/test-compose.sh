#!/usr/bin/env bash
# Proves docker-compose.yml in real containers: a request becomes a ticket and a status; worker and
# store are killed in the middle of another one, and it still gets one ticket and the right status.
#
#   deploy/test-compose.sh                                          with docker compose
#   COMPOSE=podman-compose CONTAINER=podman deploy/test-compose.sh  with something like it
#
# Takes two to four minutes, ten at the most. The stack has a project name and ports of its own and
# is removed at the end, volumes included; only the image stays.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

read -ra compose <<<"${COMPOSE:-docker compose}"
read -ra container <<<"${CONTAINER:-docker}"
project=approval-proxy-test-$$
embedded=$project-embedded
compose+=(--project-name "$project" --profile demo)
ports=$((20000 + RANDOM % 10000))
export PROXY_PORT=$ports DESK_PORT=$((ports + 1)) WITBOOST_PORT=$((ports + 2))
export BUILDAH_FORMAT=docker # podman's own format has no place for a health check
scratch=$(mktemp -d)

say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }
fail() { say "FAILED: $*" >&2; exit 1; }
quietly() { "$@" >"$scratch/output" 2>&1 || { cat "$scratch/output" >&2; fail "$*"; }; }

finish() {
    local status=$?
    if ((status)); then
        for service in redis web worker desk witboost; do
            printf -- '--- last lines of %s\n' "$service"
            "${container[@]}" logs --tail 20 "$(id_of "$service")" 2>&1 || true
        done
    fi
    "${container[@]}" rm --force "$embedded" >/dev/null 2>&1 || true
    "${container[@]}" volume rm "$embedded" >/dev/null 2>&1 || true
    "${compose[@]}" down --volumes >/dev/null 2>&1 || true
    rm -rf "$scratch"
    exit "$status"
}
trap finish EXIT

id_of() {
    "${container[@]}" ps --all --quiet --filter "label=com.docker.compose.project=$project" \
        --filter "label=com.docker.compose.service=$1"
}
inside() { local service=$1; shift; "${container[@]}" exec --interactive "$(id_of "$service")" "$@"; }
state() { "${container[@]}" inspect --format "{{.State.$2}}" "$1"; }

# The runtime's own verdict. Without systemd, podman has no timer and looks only when it is told to.
healthy() {
    "${container[@]}" healthcheck run "$1" >/dev/null 2>&1 \
        || [[ $(state "$1" Health.Status 2>/dev/null) == healthy ]]
}

within() { # within SECONDS COMMAND...
    local last=$((SECONDS + $1))
    shift
    until "$@" >"$scratch/looked" 2>&1; do
        ((SECONDS < last)) || { cat "$scratch/looked" >&2; fail "not in time: $*"; }
        sleep 0.5
    done
}

call() { # call METHOD URL [JSON]
    curl --silent --show-error --fail --max-time 15 --request "$1" "$2" \
        ${3:+--header 'Content-Type: application/json' --data "$3"}
}
witboost=http://127.0.0.1:$WITBOOST_PORT
desk=http://127.0.0.1:$DESK_PORT
has() { call GET "$1" | grep --quiet --extended-regexp "$2"; }
ask() { # prints the correlation id
    call POST "$witboost/requests" "{\"fields\": {\"identities\": [\"john.doe_company.com\"],
        \"verb\": \"grant\", \"motivation\": \"$1\"}}" \
        | grep --only-matching '"correlationId":"[^"]*' | cut -d '"' -f 4
}
decide() { call POST "$desk/desk/tickets/$1/decision" "{\"decision\": \"$2\"}" >/dev/null; }

start() {
    quietly timeout 120 "${compose[@]}" up --detach
    for service in redis web desk witboost; do
        within 60 healthy "$(id_of "$service")"
    done
}

confined() { # confined SERVICE UID
    local found
    found=$(inside "$1" sh -c 'id -u; touch /intruder 2>&1; ls /proc/1/root/intruder 2>&1
        sed -n "s/^CapEff:[[:space:]]*//p; s/^NoNewPrivs:[[:space:]]*//p" /proc/self/status')
    grep --quiet --line-regexp "$2" <<<"$found" || fail "$1 does not run as user $2: $found"
    grep --quiet 'Read-only file system' <<<"$found" || fail "$1 can write to /: $found"
    grep --quiet --line-regexp 0000000000000000 <<<"$found" || fail "$1 has capabilities: $found"
    grep --quiet --line-regexp 1 <<<"$found" || fail "$1 may gain privileges: $found"
}

stops_well() { # stops_well CONTAINER SECONDS
    local started=$SECONDS
    quietly "${container[@]}" stop -t 30 "$1"
    ((SECONDS - started <= $2)) || fail "$1 took $((SECONDS - started)) s to stop"
    [[ $(state "$1" ExitCode) == 0 ]] || fail "$1 ended with $(state "$1" ExitCode)"
}

quietly timeout 600 "${compose[@]}" build web
say "the image is built"
start
say "redis, web, desk and witboost are healthy"

for service in web worker desk witboost; do confined "$service" 10001; done
confined redis 999
say "no service is root, can write to its root, or has or may gain a capability"

first=$(ask "an ordinary request")
within 20 has "$desk/desk/tickets" '"key":"DESK-1"'
decide DESK-1 approved
within 20 has "$witboost/hooks" '"status":"OK"'
say "request $first: asked, ticket DESK-1, approved, OK at witboost"

# The desk makes the ticket and never answers: what the worker knew of it dies with the worker.
call POST "$desk/desk/faults" '{"operation": "create", "kind": "hang", "after_effect": true}'
second=$(ask "a request in the middle of which much dies")
within 20 has "$desk/desk/tickets" '"key":"DESK-2"'
quietly "${container[@]}" kill --signal KILL "$(id_of worker)"
quietly "${container[@]}" kill --signal KILL "$(id_of redis)"
call DELETE "$desk/desk/faults"
decide DESK-2 rejected
quietly "${container[@]}" start "$(id_of redis)"
within 60 healthy "$(id_of redis)"
within 60 healthy "$(id_of web)"
quietly "${container[@]}" start "$(id_of worker)"
say "request $second: worker and redis killed after the create, started again"
within 120 has "$witboost/hooks" '"status":"KO"'
say "request $second: KO at witboost"

# The verdict comes from what desk and witboost saw, not from our own store.
inside witboost python - "$first" "$second" <<'PYTHON' || fail "see the problems above"
import json, sys
from urllib.request import urlopen
from proxy.demo.verdict import Expected, judge

def journal(url):
    return json.load(urlopen(url, timeout=10))["entries"]

verdict = judge(
    journal("http://desk:8080/desk/journal"),
    journal("http://127.0.0.1:8080/journal"),
    {sys.argv[1]: Expected(status="OK"), sys.argv[2]: Expected(status="KO")},
)
for row in verdict.rows:
    print("       ", row.correlation_id, *row.tickets, row.decision, row.status, row.attempts)
sys.exit("\n".join(verdict.problems) or 0)
PYTHON
say "one ticket and one right status for each request"

for service in worker web; do stops_well "$(id_of "$service")" 22; done
say "worker and web stop on SIGTERM"

quietly "${compose[@]}" down
start
for id in "$first" "$second"; do
    inside web python - "$id" <<'PYTHON' || fail "request $id is gone with the containers"
import json, sys
from urllib.request import Request, urlopen

url = f"http://127.0.0.1:8080/api/requests/{sys.argv[1]}"
answer = urlopen(Request(url, headers={"X-API-Key": "demo-only-operator-key"}), timeout=10)
sys.exit("done" not in json.dumps(json.load(answer)))
PYTHON
done
say "all containers were removed and made anew: both requests are still known"

# The image by itself, with the embedded store: one writable place, which a volume must provide.
alone=(run --name "$embedded" --detach --read-only --tmpfs /tmp --cap-drop ALL
    --volume "$PWD/deploy/compose/approval-proxy.yaml:/etc/approval-proxy/approval-proxy.yaml:ro"
    --volume "$PWD/deploy/compose/demo-secrets:/run/secrets:ro"
    --env APPROVAL_PROXY__STORE__REDIS_URL=null)
ended() { [[ $(state "$embedded" Running) == false ]]; }
refused() { "${container[@]}" logs "$embedded" 2>&1 | grep --quiet 'data folder'; }
quietly "${container[@]}" "${alone[@]}" approval-proxy:local
within 30 ended
within 5 refused
quietly "${container[@]}" rm "$embedded"
quietly "${container[@]}" "${alone[@]}" --volume "$embedded:/var/lib/approval-proxy" approval-proxy:local
within 60 healthy "$embedded"
stops_well "$embedded" 22
say "the image runs alone with a volume, and says what is missing without one"
