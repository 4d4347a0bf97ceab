"""Opening the page of a reading in a browser, and taking its picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page

from browser.patience import PATIENCE
from browser.watch import Watch, settle
from patchlens.reading.reading import Reading
from patchlens.views.html import write_page

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
WHOLE = '() => performance.getEntriesByName("patchlens:whole").length > 0'


@dataclass
class Opener:
    """Opens pages of one test, each in a context of its own, all of them watched."""

    browser: Browser
    watch: Watch
    folder: Path
    contexts: list[BrowserContext] = field(default_factory=list)

    def __call__(
        self,
        reading: Reading,
        beside: Reading | None = None,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        zoom: float = 1.0,
        into: Page | None = None,
    ) -> Page:
        """Write the page of a reading, open it and wait until all of it is there.

        Width and height are in CSS pixels; ``zoom`` is the number of device pixels in one of them. With
        ``into`` the page opens in place of another one, which takes far less time than a new context.
        """
        page = into or self._new_page(width, height, dark, zoom)
        self._go(page, write_page(reading, self._new_path(), beside=beside))
        page.wait_for_function(WHOLE)
        return page

    def file(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        """Open a page that lies in a file, and wait until all of it is there."""
        page = self._new_page(width, height, dark)
        self._go(page, path)
        page.wait_for_function(WHOLE)
        return page

    def text(self, html: str) -> Page:
        """Open any HTML, to see what a page could do that is not ours."""
        page, path = self._new_page(), self._new_path()
        path.write_text(html, "utf-8")
        self._go(page, path)
        return page

    def _new_path(self) -> Path:
        return self.folder / f"{len(self.watch.allowed)}.html"

    def _go(self, page: Page, path: Path) -> None:
        self.watch.allowed.add(path.as_uri())
        page.goto(path.as_uri())

    def _new_page(self, width: int = 1280, height: int = 900, dark: bool = False, zoom: float = 1.0) -> Page:
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=zoom,
            color_scheme="dark" if dark else "light",
        )
        context.set_default_timeout(PATIENCE)
        self.contexts.append(context)
        self.watch.over(context)
        return context.new_page()

    def close(self) -> None:
        """Close all pages, after they have reported all they have to."""
        for context in self.contexts:
            for page in context.pages:
                settle(page)
            context.close()


def shoot(page: Page, name: str) -> Path:
    """Save what a page shows as ``screenshots/NAME.png``, for people to look at."""
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=path)
    return path
