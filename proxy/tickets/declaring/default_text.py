"""The default title and description of a ticket: who requests access, for whom, to what, and why.

Texts of requesters are indented below their first line, and so are unknown fields with their names,
so that nobody can write a line that looks like one of ours.
"""

from typing import Final

TITLE: Final = (
    "{{ 'Revoke' if verb == 'revoke' else 'Grant' }} access"
    "{% set what = resource_name or resource %}"
    "{% if what %} to {{ what | replace('\\n', ' ') }}{% endif %}"
    "{% if identities %} for {{ identities | join(', ') | replace('\\n', ' ') }}{% endif %}"
)

DESCRIPTION: Final = """\
{% set what = [resource_name, resource_urn] | select | join(', ') or resource -%}
{% set said = [motivation, requester, resource, resource_urn, resource_name, resource_owner,
    resource_link, duration, expires, verb] -%}
{{ 'Take access away' if verb == 'revoke' else 'Give access' }}.
Who: {{ identities | join(', ') | indent(4) or 'not said' }}
To what: {{ what | indent(4) or 'not said' }}
{%- if resource_owner %}
Owner: {{ resource_owner | indent(4) }}
{%- endif %}
{%- if resource_link %}
Shown at: {{ resource_link | indent(4) }}
{%- endif %}
Asked by: {{ requester | indent(4) or 'not said' }}
Why: {{ motivation | indent(4) or 'not said' }}
{%- if duration %}
For how long: {{ duration | indent(4) }}
{%- endif %}
{%- if expires %}
Until: {{ expires | indent(4) }}
{%- endif %}
{%- for name, value in fields | dictsort
    if (value is string or value is number) and name != 'verb' and value | string not in said %}
{%- if loop.first %}
Also in the request:
{%- endif %}
    {{ name | replace('\n', ' ') }}: {{ value | string | indent(8) }}
{%- endfor %}

Approve or reject this ticket; the answer goes to witboost by itself (request {{ correlation_id }}).
"""
