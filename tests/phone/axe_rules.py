"""What axe, the checker of accessibility, says of a page."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Page

AXE = Path(__file__).parent / "vendor/axe.min.js"


async def violations(page: Page) -> list[str]:
    """What axe objects to, once everything that moves has come to rest."""
    await page.evaluate("Promise.allSettled(document.getAnimations().map((one) => one.finished))")
    if not await page.evaluate("'axe' in window"):
        # Evaluated from outside: the page's own policy would not let a foreign script in.
        await page.evaluate(AXE.read_text("utf-8"))
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
