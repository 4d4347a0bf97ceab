"""Shared by all tests: runtime shape checks on, tests/ importable, nothing from a hub."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
