"""Schemathesis against the whole program: nothing undocumented is answered, nothing breaks.

It reads the description that the program serves, generates calls that fit it and calls that do
not, follows what one answer offers to the next call, and compares every answer with the
description. Calls go to a listener with real settings, a real store and a real desk behind it.
"""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.conftest import OpenRig
from tests.support.rig import API_KEY, OPERATOR_KEY, Rig

PHASES = "examples,coverage,fuzzing,stateful"
# What fits the description may be refused all the same: a request that is decided cannot be
# cancelled any more, and no schema says so.
NOT_CHECKED = "positive_data_acceptance"


def narrowed(description: bytes, rig: Rig) -> dict[str, Any]:
    """Return the description with what only these settings know, so that calls get further."""
    tree: dict[str, Any] = yaml.safe_load(description)
    schemas = tree["components"]["schemas"]
    prefix = re.escape(f"{rig.witboost.url}/api/actionHandler/")
    schemas["Request"]["properties"]["respondToUrl"]["pattern"] = f"^{prefix}[a-z0-9]{{1,40}}$"
    schemas["TrialBody"]["properties"]["system"]["enum"] = ["desk"]
    return tree


async def judged(rig: Rig, tree: dict[str, Any], folder: Path, key: str | None) -> dict[str, Any]:
    """Run Schemathesis as whoever has this key, and return its report."""
    description, report = folder / "openapi.json", folder / "report.json"
    description.write_text(json.dumps(tree))
    words = ["run", str(description), "--url", rig.url, "--phases", PHASES, "--seed", "1"]
    words += ["--max-examples", "12", "--exclude-checks", NOT_CHECKED, "--no-color"]
    words += ["--continue-on-failure", "--report-json-path", str(report)]
    if key is not None:
        words += ["--header", f"X-API-Key: {key}"]
    program = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("st")),
        *words,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await program.communicate()
    found: dict[str, Any] = json.loads(report.read_text())
    return {**found, "said": said.decode(), "exit": program.returncode}


async def description_of(rig: Rig) -> bytes:
    """Return the description as it is served."""
    async with aiohttp.ClientSession() as session, session.get(f"{rig.url}/openapi.yaml") as page:
        return await page.read()


@pytest.mark.parametrize(
    ("who", "key"), [("operator", OPERATOR_KEY), ("witboost", API_KEY), ("nobody", None)]
)
async def test_every_answer_to_generated_calls_is_one_that_is_described(
    open_rig: OpenRig, tmp_path: Path, who: str, key: str | None
) -> None:
    async with open_rig() as rig:
        await rig.ask()
        await rig.work()
        tree = narrowed(await description_of(rig), rig)

        report = await judged(rig, tree, tmp_path, key)

        assert report["exit"] == 0, report["said"]
        assert report["complete"]
        assert report["operations"]["tested"] == report["operations"]["total"]
        assert report["test_cases"]["generated"] > 300, who
        submits = {"POST /", "POST /approval-requests"}
        refused = set(report["warnings"].get("missing_auth", []))
        assert (submits <= refused) == (key != API_KEY), who


async def test_an_answer_that_is_not_described_is_found(open_rig: OpenRig, tmp_path: Path) -> None:
    async with open_rig() as rig:
        tree = narrowed(await description_of(rig), rig)
        del tree["paths"]["/approval-requests"]["post"]["responses"]["400"]
        tree["paths"] = {"/approval-requests": tree["paths"]["/approval-requests"]}
        del tree["paths"]["/approval-requests"]["post"]["responses"]["202"]["links"]

        report = await judged(rig, tree, tmp_path, API_KEY)

        assert report["exit"] == 1, report["said"]
        assert any("status code" in it["title"].lower() for it in report["failures"])
