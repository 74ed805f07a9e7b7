"""What a ticket says where the settings do not: who asks, for whom, to what, why.

Texts of requesters are indented below their first line, so that nobody can write a line that looks
like one of ours.
"""

from typing import Final

TITLE: Final = (
    "{{ 'Revoke' if verb == 'revoke' else 'Grant' }} access"
    "{% if resource %} to {{ resource | replace('\\n', ' ') }}{% endif %}"
    "{% if identities %} for {{ identities | join(', ') | replace('\\n', ' ') }}{% endif %}"
)

DESCRIPTION: Final = """\
{{ 'Take access away' if verb == 'revoke' else 'Give access' }}.
Who: {{ identities | join(', ') | indent(4) or 'not said' }}
To what: {{ resource | indent(4) or 'not said' }}
Asked by: {{ requester | indent(4) or 'not said' }}
Why: {{ motivation | indent(4) or 'not said' }}
{%- for name, value in fields | dictsort
    if (value is string or value is number) and name not in ('motivation', 'verb', 'requester') %}
{{ name | replace('\\n', ' ') }}: {{ value | string | indent(4) }}
{%- endfor %}

Approve or reject this ticket; the answer goes to witboost by itself (request {{ correlation_id }}).
"""
