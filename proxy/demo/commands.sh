# witboost sends a request, and waits for its final status
curl -sSw '\n' $witboost/requests -H 'Content-Type: application/json' \
  -d '{"fields": {"identities": ["john.doe_company.com"], "verb": "grant"}}'

# the tickets at the desk
curl -sSw '\n' $tickets

# a person at the desk approves (or rejects) the new one
curl -sSw '\n' $decision -H 'Content-Type: application/json' \
  -d '{"decision": "approved", "by": "you", "comment": "fine"}'

# a hook call by hand
curl -sSw '\n' $proxy/approval-requests -H 'Content-Type: application/json' \
  -H 'X-Request-ID: $request_id' \
  -H 'X-API-Key: $hook_key' \
  -d '{"respondToUrl": "$witboost/api/actionHandler/by-hand",
       "fields": {"identities": ["john.doe_company.com"], "verb": "grant"}}'

# the status of a request, for the client that sent it
curl -sSw '\n' $proxy/approval-requests/$example \
  -H 'X-API-Key: $hook_key'

# all requests, for an operator
curl -sSw '\n' $proxy/api/requests \
  -H 'X-API-Key: $operator_key'

# readiness, with the reason if the proxy is not ready
curl -sSw '\n' $proxy/readyz

# the metrics
curl -sSw '\n' $proxy/metrics

# let the desk go down for ten seconds; then send a request
curl -sSw '\n' $control/outage -H 'Content-Type: application/json' -d '{"seconds": 10}'

# or the command line, in another terminal
export APPROVAL_PROXY_CONFIG=$settings
export APPROVAL_PROXY_KEY=$operator_key
$program try --system $system
$program requests list
$program check --live

# or the console in a browser, and the key to sign in with
$proxy/console/
$operator_key
