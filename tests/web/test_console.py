"""The console's files: complete, for operators' listeners alone, and nothing else may run there."""

import re
import shutil
import ssl
import subprocess
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request
from typing_extensions import override

from proxy.domain.events.base import Event
from proxy.web.console import PAGE, POLICY, Console
from tests.web.conftest import OPERATOR_KEY, Answered, Site, Starts

FILES = {it.name: it.read_text() for it in files("proxy.web.console").iterdir() if it.is_file()}
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}
SERVED = sorted(FILES.keys() - {"__init__.py"})
DANGEROUS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|"
    r"javascript:|setTimeout\(\s*[\"'`]|DOMParser|createContextualFragment|localStorage|\.cookie"
)


class Elements(HTMLParser):
    """Every start tag of the page, with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(FILES[PAGE])

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("path", ["/console/", *(f"/console/{name}" for name in SERVED)])
async def test_nothing_but_these_files_may_run_in_the_console(site: Site, path: str) -> None:
    answer = await site.call("GET", path)
    assert answer.status == 200
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "Set-Cookie" not in answer.headers
    name = path.removeprefix("/console/") or PAGE
    assert answer.body == (files("proxy.web.console") / name).read_bytes()
    kind = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg"}
    assert answer.headers["Content-Type"].startswith(kind[name.rpartition(".")[2]])


async def test_where_we_speak_tls_browsers_keep_to_it() -> None:
    spoken = make_mocked_request("GET", "/console/", sslcontext=ssl.create_default_context())
    bare = make_mocked_request("GET", "/console/")
    (secure, plain) = [(await Console().page(it)).headers for it in (spoken, bare)]
    assert secure["Strict-Transport-Security"] == "max-age=31536000"
    assert secure["Content-Security-Policy"] == POLICY
    assert "Strict-Transport-Security" not in plain  # a reverse proxy before us says it


def test_the_policy_allows_this_listener_alone() -> None:
    rules = dict(rule.strip().partition(" ")[::2] for rule in POLICY.split(";"))
    assert rules["default-src"] == "'none'"
    assert {rules[f"{it}-src"] for it in ("script", "style", "connect", "img")} == {"'self'"}
    assert {rules[it] for it in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert rules["require-trusted-types-for"] == "'script'"
    assert not re.search(r"unsafe|\*|https?:|data:", POLICY)


async def test_a_file_that_the_browser_has_is_not_sent_again(site: Site) -> None:
    first = await site.call("GET", "/console/console.js")
    same = await site.call("GET", "/console/console.js", headers={"If-None-Match": _tag(first)})
    assert (same.status, same.body, _tag(same)) == (304, b"", _tag(first))
    other = await site.call("GET", "/console/dom.js", headers={"If-None-Match": _tag(first)})
    assert (other.status, _tag(other) != _tag(first)) == (200, True)


def _tag(answer: Answered) -> str:
    return answer.headers["ETag"]


async def test_the_address_without_a_slash_leads_below_whatever_is_before_it(site: Site) -> None:
    answer = await site.call("GET", "/console", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (308, "console/")


@pytest.mark.parametrize("name", ["nothing.js", "__init__.py", "..%2f__init__.py", "%00"])
async def test_nothing_else_is_served_there(site: Site, name: str) -> None:
    (await site.call("GET", f"/console/{name}")).refused(404, "Not Found")


async def test_the_console_changes_nothing(site: Site) -> None:
    for path in ("/console", "/console/", "/console/console.js"):
        answer = await site.call("POST", path, key=OPERATOR_KEY)
        answer.refused(405, "Method Not Allowed")
        assert answer.headers["Allow"] == "GET"


@pytest.mark.parametrize(("part", "status"), [("hooks", 404), ("events", 404), ("operators", 200)])
async def test_the_console_is_where_the_operator_api_is_and_nowhere_else(
    start: Starts, part: str, status: int
) -> None:
    site = await start(parts={part})
    for path in ("/console/", "/console/console.js"):
        assert (await site.call("GET", path)).status == status
    assert ((await site.call("GET", "/api/status")).status == 401) == (status == 200)


def test_the_page_holds_no_script_and_no_style_of_its_own() -> None:
    for tag, attributes in Elements().found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert tag != "style"
        if tag == "script":
            assert attributes.get("src") == "console.js"
    assert re.findall(r"<script[^>]*>([^<]*)</script>", FILES[PAGE]) == [""]


def test_all_that_the_files_name_is_there_and_nothing_elsewhere() -> None:
    named = set(re.findall(r"(?:src|href)=\"([^#\"]+)\"", FILES[PAGE]))
    for text in SCRIPTS.values():
        named |= {it.removeprefix("./") for it in re.findall(r"from \"([^\"]+)\"", text)}
    assert named | {PAGE} == set(SERVED)
    everything = "\n".join(FILES[name] for name in SERVED)
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", everything))
    assert addresses == {"http://www.w3.org/2000/svg"}, "a namespace is no address"


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_makes_markup_or_code_of_text(name: str) -> None:
    assert not DANGEROUS.search(SCRIPTS[name])


@pytest.mark.parametrize(
    "text",
    ["it.innerHTML = x", "eval(x)", "localStorage.key", "document.cookie", 'setTimeout("x")'],
)
def test_what_is_looked_for_in_scripts_is_found(text: str) -> None:
    assert DANGEROUS.search(text)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_is_one(name: str, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on PATH, so nothing reads the console's scripts here")
    file = tmp_path / f"{name}.mjs"  # else it would be read as a script of the old kind
    file.write_text(SCRIPTS[name])
    subprocess.run([node, "--check", file], check=True, capture_output=True, timeout=60)


def test_every_event_has_a_name_for_people() -> None:
    named = set(re.findall(r"^  (\w+): \"", SCRIPTS["words.js"], re.MULTILINE))
    assert {kind.event_code for kind in _kinds(Event) - {Event}} <= named


def _kinds(kind: type[Event]) -> set[type[Event]]:
    return {kind}.union(*map(_kinds, kind.__subclasses__()))
