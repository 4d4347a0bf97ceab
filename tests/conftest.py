"""Shared by all tests: array shapes checked at run time, nothing from a hub, one thread for tiny models."""

import os

from jaxtyping import install_import_hook

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
CHECKED = ("models", "capture", "lens", "attention", "causal", "fit")
install_import_hook([f"patchlens.{name}" for name in CHECKED], "beartype.beartype")
