"""Every setting has a line of its own that explains it, under its field."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SETTINGS = Path(__file__).parents[2] / "proxy" / "settings"


def fields(source: str) -> Iterator[tuple[str, str | None]]:
    """Yield the name of each field of a section, and the text under it."""
    for model in ast.parse(source).body:
        if isinstance(model, ast.ClassDef):
            after = [*model.body[1:], ast.Pass()]
            for field, text in zip(model.body, after, strict=True):
                if isinstance(field, ast.AnnAssign) and _is_setting(field):
                    yield f"{model.name}.{ast.unparse(field.target)}", _text(text)


def _is_setting(field: ast.AnnAssign) -> bool:
    private = ast.unparse(field.target).startswith("_")
    return not private and "ClassVar" not in ast.unparse(field.annotation)


def _text(statement: ast.stmt) -> str | None:
    text = statement.value if isinstance(statement, ast.Expr) else None
    return str(text.value) if isinstance(text, ast.Constant) else None


def sections() -> Iterator[tuple[str, str | None]]:
    for module in (
        "model",
        "clients",
        "oauth2",
        "outbound",
        "serving",
        "ticket_systems",
        "witboost",
    ):
        yield from fields((SETTINGS / f"{module}.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "text"), list(sections()))
def test_a_setting_is_explained_in_one_line(name: str, text: str | None) -> None:
    assert text, f"{name} has no docstring"
    assert "\n" not in text
    assert text.endswith(".")


def test_a_field_without_a_line_is_found() -> None:
    source = 'class A(Section):\n    b: int\n    """Text."""\n    c: int\n    d: ClassVar[int]\n'
    assert dict(fields(source)) == {"A.b": "Text.", "A.c": None}
