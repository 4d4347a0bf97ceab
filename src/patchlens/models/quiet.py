"""Keep transformers' loading chatter off the user's terminal, for the time of loading only."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging

CONVERSION_SWITCH = "DISABLE_SAFETENSORS_CONVERSION"  # else loading may ask the hub to convert a repository


@contextmanager
def quiet_loading(*, keep_bars: bool = False) -> Generator[None, None, None]:
    """No log below errors inside, and no progress bars unless kept; Python warnings still pass.

    Bars are worth keeping where gigabytes may be fetched.
    What the log would have warned of (weights that are missing or left over) the caller checks itself.
    """
    verbosity, hub_verbosity = logging.get_verbosity(), hub_logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    switch = os.environ.get(CONVERSION_SWITCH)
    logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    if not keep_bars:
        logging.disable_progress_bar()
    os.environ[CONVERSION_SWITCH] = "1"
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
        if bars:
            logging.enable_progress_bar()
        if switch is None:
            del os.environ[CONVERSION_SWITCH]
        else:
            os.environ[CONVERSION_SWITCH] = switch
