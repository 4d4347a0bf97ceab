"""What a page does that it must never do: load, send, ask, complain or break its own policy."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Error, Page, Route, WebSocket

from browser.patience import PATIENCE

Kind = Literal["request", "dialog", "console", "error", "policy"]
REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  reportViolation(`${event.effectiveDirective} ${event.blockedURI}`))
"""


@dataclass
class Watch:
    """Everything that happened in the pages of some contexts and was not expected, in order.

    ``allowed`` are the files that may be opened; ``ignored`` are kinds of which nothing is kept.
    """

    allowed: set[str] = field(default_factory=set)
    ignored: set[Kind] = field(default_factory=set)
    seen: list[tuple[Kind, str]] = field(default_factory=list)

    def over(self, context: BrowserContext) -> None:
        """Watch a context from now on."""
        context.expose_binding("reportViolation", lambda _, text: self._note("policy", text))
        context.add_init_script(REPORT_VIOLATIONS)
        context.route("**/*", self._request)
        context.on("page", lambda page: page.on("websocket", self._socket))
        context.on("dialog", self._dialog)
        context.on("console", self._console)
        context.on("weberror", lambda error: self._note("error", str(error.error)))

    def taken(self, kind: Kind) -> list[str]:
        """What happened of one kind; a test that takes it says that it expected it."""
        texts = [text for other, text in self.seen if other == kind]
        self.seen = [(other, text) for other, text in self.seen if other != kind]
        return texts

    def _note(self, kind: Kind, text: str) -> None:
        if kind not in self.ignored:
            self.seen.append((kind, text))

    def _request(self, route: Route) -> None:
        url = route.request.url
        if url.split("#")[0] in self.allowed or url.startswith("blob:"):
            route.continue_()
        else:
            self._note("request", url)
            route.abort()

    def _socket(self, socket: WebSocket) -> None:
        self._note("request", socket.url)

    def _dialog(self, dialog: Dialog) -> None:
        self._note("dialog", dialog.message)
        dialog.dismiss()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._note("console", message.text)


def settle(page: Page) -> None:
    """Wait until what the page has started so far has been reported."""
    with suppress(Error):  # a page on its way elsewhere has nothing more to report
        page.evaluate("() => new Promise((done) => setTimeout(done))")


def wait_for_report(page: Page, watch: Watch, *kinds: Kind) -> None:
    """Wait until something of each kind is seen: another process or a new tab takes its time."""
    end = time.monotonic() + PATIENCE / 1000
    while not {kind for kind, _ in watch.seen}.issuperset(kinds) and time.monotonic() < end:
        page.wait_for_timeout(20)
