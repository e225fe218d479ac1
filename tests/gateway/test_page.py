"""The page's files: how they are served, and that they are what the sources in web/ make."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import httpx
import pytest

from gateway.page import STATIC
from training.phantom.sample import write_sample

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


async def test_the_page_and_all_it_loads_come_from_this_server(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    addresses = re.findall(r'(?:src|href)="\./([^"]+)"', page.text)
    kinds = {(await client.get(f"/{address}")).headers["content-type"].split(";")[0] for address in addresses}
    assert kinds == {"text/javascript", "text/css", "image/svg+xml"}
    assert "//" not in page.text
    assert not any("viewer" in address for address in addresses)  # the largest of all; only results need it


async def test_no_script_may_come_from_text_or_from_elsewhere(client: httpx.AsyncClient) -> None:
    rules = dict(
        rule.strip().split(" ", 1) for rule in (await client.get("/")).headers["content-security-policy"].split(";")
    )
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in str(rules)
    elsewhere = (await client.get("/v1/models")).headers["content-security-policy"]
    assert elsewhere == "default-src 'none'; frame-ancestors 'none'"


async def test_files_named_by_their_content_are_kept_by_browsers(client: httpx.AsyncClient) -> None:
    (script,) = STATIC.glob("page/index-*.js")
    answer = await client.get(f"/page/{script.name}")
    assert answer.content == script.read_bytes()
    assert "immutable" in answer.headers["cache-control"]
    assert (await client.get("/page/phantom.zip")).headers["cache-control"] == "no-cache"


async def test_heads_are_answered(client: httpx.AsyncClient) -> None:
    answer = await client.head("/")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2findex.html", "%2e%2e/__init__.py", ".", "index.html"])
async def test_nothing_else_is_served(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/page/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_who_asks_where_the_door_is_open(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/caller")
    assert answer.json() == {"name": "anonymous", "scopes": ["admin", "grade", "jobs", "metrics", "read"]}


def test_the_build_was_made_of_these_sources() -> None:
    written = dict(line.split("  ", 1)[::-1] for line in (STATIC / "sources.sha256").read_text().splitlines())
    assert set(written) >= {"index.html", "package-lock.json", "vite.config.ts", "src/main.tsx", "src/page.css"}
    now = {name: hashlib.sha256((WEB / name).read_bytes()).hexdigest() for name in written}
    assert now == written, "run make page"
    sources = {str(path.relative_to(WEB)) for path in (WEB / "src").iterdir() if ".test." not in path.name}
    assert sources <= set(written), "run make page"


def test_the_sources_make_the_build_again(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    web = tmp_path / "web"
    shutil.copytree(WEB, web, ignore=shutil.ignore_patterns("node_modules"))
    fetched = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund", "--prefer-offline"], cwd=web, capture_output=True, text=True, timeout=300
    )
    if fetched.returncode != 0:
        pytest.skip("npm cannot fetch the packages of web/package-lock.json")
    for script in ("check", "test", "build"):
        done = subprocess.run([npm, "run", script], cwd=web, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    assert files(tmp_path / "gateway" / "page" / "static") == files(STATIC)


def test_the_lock_file_pins_every_package_and_names_no_registry() -> None:
    lock = json.loads((WEB / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert all(re.fullmatch(r"sha512-\S+", package["integrity"]) for package in packages.values())
    assert not any("resolved" in package for package in packages.values())
    manifest = json.loads((WEB / "package.json").read_text())
    versions = [*manifest["dependencies"].values(), *manifest["devDependencies"].values()]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)


def test_licences_of_all_that_is_bundled_are_shipped() -> None:
    text = (STATIC / "page" / "licenses.md").read_text()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert {section.split(" - ")[0] for section in sections} >= {"@niivue/niivue", "preact", "d3-contour", "fflate"}
    assert all('"AS IS"' in " ".join(section.split()) for section in sections)


def test_the_sample_is_what_the_phantom_makes(tmp_path: Path) -> None:
    def members(path: Path) -> dict[str, bytes]:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    shipped = STATIC / "page" / "phantom.zip"
    assert shipped.stat().st_size < 1_000_000
    assert members(shipped) == members(write_sample(tmp_path / "phantom.zip"))
