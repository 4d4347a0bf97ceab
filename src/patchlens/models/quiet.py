"""Keep transformers' loading chatter off the user's terminal, for the time of loading only."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

from transformers.utils import logging

CONVERSION_SWITCH = "DISABLE_SAFETENSORS_CONVERSION"  # else loading may ask the hub to convert a repository


@contextmanager
def quiet_loading() -> Generator[None, None, None]:
    """No progress bars and no log below errors inside; Python warnings still pass.

    What the log would have warned of (weights that are missing or left over) the caller checks itself.
    """
    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    switch = os.environ.get(CONVERSION_SWITCH)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    os.environ[CONVERSION_SWITCH] = "1"
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
        if switch is None:
            del os.environ[CONVERSION_SWITCH]
        else:
            os.environ[CONVERSION_SWITCH] = switch
