"""What is installed is what is developed: every file is in the wheel, and in the image.

The image installs the wheel that it builds of the same folder (`deploy/Dockerfile`).
"""

from pathlib import Path

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
