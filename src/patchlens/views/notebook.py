"""A reading in a notebook with a running kernel: the page as a widget (extra "notebook")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchlens.errors import MissingExtraError
from patchlens.reading.reading import Reading, check_reading

if TYPE_CHECKING:
    from patchlens.views.live import PageWidget


def widget(reading: Reading, beside: Reading | None = None) -> PageWidget:
    """The page as a widget whose ``layer``, ``position`` and ``query`` follow the page, and move it when set.

    Args:
        reading: what to show.
        beside: any other reading to compare it with.

    Raises:
        SelectionError: what came is no reading.
        MissingExtraError: anywidget is not installed.
    """
    for own in (reading, beside):
        if own is not None:
            check_reading(own)
    try:
        from patchlens.views.live import PageWidget
    except ModuleNotFoundError as error:
        if error.name == "anywidget":
            raise MissingExtraError("a widget", "anywidget", "notebook") from None
        raise
    return PageWidget(reading, beside)
