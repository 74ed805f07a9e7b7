"""The fields that a simulated Jira site accepts in a new issue, and their errors."""

from collections.abc import Mapping
from typing import Any, Final

from proxy.simulators.jira.issues import TEXT_FIELD

LONGEST_SUMMARY: Final = 255
LONGEST_TEXT: Final = 32_767
FIELDS: Final = frozenset(
    ("project", "issuetype", "summary", "description", "labels", "reporter", "priority", TEXT_FIELD)
)


def field_problems(fields: Mapping[str, Any], *, adf: bool) -> dict[str, str]:
    """Return the errors in the fields of a new issue, by field."""
    problems = {
        name: f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
        for name in fields.keys() - FIELDS
    }
    summary = fields.get("summary")
    if isinstance(summary, str):
        if "\n" in summary or "\r" in summary:
            problems["summary"] = "The summary is invalid because it contains newline characters."
        elif len(summary.encode("utf-16-le")) // 2 > LONGEST_SUMMARY:
            problems["summary"] = "Summary must be less than 255 characters."
    description = fields.get("description")
    if description is not None:
        if adf and not is_document(description):
            problems["description"] = "Operation value must be an Atlassian Document"
        elif not adf and not isinstance(description, str):
            problems["description"] = "Operation value must be a string"
        elif not adf and len(description) > LONGEST_TEXT:
            problems["description"] = "The entered text is too long."
    for label in fields.get("labels") or ():
        if " " in label:
            problems["labels"] = f"The label '{label}' contains spaces which is invalid."
    return problems


def is_document(value: Any) -> bool:
    """Return True if a value is an Atlassian Document of paragraphs, texts and hard breaks."""
    if not isinstance(value, dict) or value.keys() != {"type", "version", "content"}:
        return False
    return (value["type"], value["version"]) == ("doc", 1) and all(
        block.keys() == {"type", "content"}
        and block["type"] == "paragraph"
        and all(_is_inline(node) for node in block["content"])
        for block in value["content"]
    )


def _is_inline(node: Mapping[str, Any]) -> bool:
    if node.get("type") == "hardBreak":
        return node.keys() == {"type"}
    return node.keys() == {"type", "text"} and node["type"] == "text" and bool(node["text"])
