"""Swagger UI draws the description under the content security policy of /docs."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def scroll_through(page) -> set[tuple[str, str]]:
    """Return every method and path on the page, which draws only those near the screen."""
    seen: set[tuple[str, str]] = set()
    bottom = -1
    while (position := page.evaluate("window.scrollY")) != bottom:
        bottom = position
        for block in page.locator(".opblock").all():
            method = block.locator(".opblock-summary-method").inner_text().lower()
            seen.add((method, block.locator(".opblock-summary-path").get_attribute("data-path")))
        page.mouse.wheel(0, 400)
        page.wait_for_timeout(200)
    return seen


def test_the_page_draws_every_route_and_sends_a_request(page, address) -> None:
    page.goto(f"{address}/docs")
    page.wait_for_selector(".opblock")
    described = page.request.get(f"{address}/openapi.json").json()["paths"]
    methods = ("get", "post", "put", "patch", "delete")
    operations = {
        (method, path) for path, options in described.items() for method in options if method in methods
    }
    assert scroll_through(page) == operations

    page.reload()
    page.fill(".operation-filter-input", "health")

    live = page.locator(".opblock", has_text="/health/live")
    live.locator(".opblock-summary").click()
    live.get_by_role("button", name="Try it out").click()
    live.get_by_role("button", name="Execute").click()
    page.wait_for_selector(".live-responses-table")
    assert "200" in live.locator(".live-responses-table tbody .response-col_status").first.inner_text()
