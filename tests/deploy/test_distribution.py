"""What is installed is what is developed: every file is in the wheel, and in the image.

The image installs the wheel that it builds of the same folder (`deploy/Dockerfile`).
"""

from pathlib import Path

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "proxy"


def test_every_file_of_the_package_is_in_the_wheel() -> None:
    there = {
        it.relative_to(ROOT).as_posix()
        for it in PACKAGE.rglob("*")
        if it.is_file() and "__pycache__" not in it.parts
    }
    shipped = {it.distribution_path for it in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert shipped == there
    kinds = {Path(it).suffix for it in shipped}
    assert {".py", ".js", ".css", ".html", ".svg", ".lua", ".yaml"} <= kinds


def test_every_page_and_what_they_name_is_in_the_source_distribution() -> None:
    builder = SdistBuilder(str(ROOT))
    packed = {Path(it.distribution_path) for it in builder.recurse_included_files()}
    pages = {it.relative_to(ROOT) for it in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))}
    assert pages <= packed
    named = {"proxy", "tests", "deploy", "docs", "Makefile", "docker-compose.yml", "LICENSE"}
    assert named <= {it.parts[0] for it in packed}
