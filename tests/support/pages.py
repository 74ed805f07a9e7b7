"""The pages that people read, and what stands where on them."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"`([^`]+)`")
_HEADING: Final = re.compile(r"^(#+) (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """One Markdown file of the repository."""

    path: Path
    text: str

    @classmethod
    def read(cls, path: Path) -> "Page":
        """Return the page in a file."""
        return cls(path, path.read_text())

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @cached_property
    def spans(self) -> list[str]:
        """Every code span of the prose, on one line each."""
        return [" ".join(span.split()) for span in _SPAN.findall(self.prose)]

    def blocks(self, language: str) -> list[str]:
        """Return the fenced blocks in a language."""
        return [text for name, text in _FENCE.findall(self.text) if name == language]

    def headings(self, level: int) -> list[str]:
        """Return the titles of a level; 2 is `##`."""
        return [title for marks, title in _HEADING.findall(self.prose) if len(marks) == level]

    @cached_property
    def anchors(self) -> set[str]:
        """The fragments that lead to a heading."""
        return {slug(title) for _, title in _HEADING.findall(self.prose)}

    def section(self, title: str) -> str:
        """Return the text below a heading, up to the next one of its level or above."""
        level, fenced, found = 0, False, list[str]()
        for line in self.text.splitlines(keepends=True):
            fenced ^= line.startswith("```")
            heading = None if fenced else _HEADING.match(line)
            if heading and level and len(heading[1]) <= level:
                break
            if level:
                found.append(line)
            elif heading and heading[2] == title:
                level = len(heading[1])
        assert level, title
        return "".join(found)


def pages() -> list[Page]:
    """Return every page: those in the root, and those in docs."""
    return [
        Page.read(path) for path in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")))
    ]


def slug(title: str) -> str:
    """Return the fragment that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
