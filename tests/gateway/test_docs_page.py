"""/docs in a hospital: the page and all it loads come from this server."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import httpx


class Addresses(HTMLParser):
    """Everything a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {value for name, value in attrs if name in ("src", "href") and value}


async def test_the_page_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    assert "//" not in page.text
    addresses = Addresses()
    addresses.feed(page.text)
    kinds = set()
    for address in addresses.found:
        answer = await client.get(address)
        assert answer.status_code == 200, address
        kinds.add(answer.headers["content-type"].split(";")[0])
    assert kinds == {"text/javascript", "text/css", "image/png"}


async def test_the_page_shows_this_servers_description(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    (url,) = re.findall(r"url: '([^']+)'", page)
    assert (await client.get(url)).json()["info"]["title"] == "discgrade"


async def test_no_address_is_sent_to_a_validator(client: httpx.AsyncClient) -> None:
    """Swagger UI shows a badge from validator.swagger.io, asked for with this server's address, unless told not to."""
    page = (await client.get("/docs")).text
    (value,) = re.findall(r'"validatorUrl": (\w+)', page)
    assert json.loads(value) is None


async def test_the_other_page_is_not_served(client: httpx.AsyncClient) -> None:
    assert (await client.get("/redoc")).status_code == 404
