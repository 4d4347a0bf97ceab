"""The browser that the tests of the page run in: one that is here, or Debian's Chromium installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "PATCHLENS_BROWSER"
# Chrome first: Ubuntu's chromium is a snap, which sees no files under /tmp.
NAMES = (
    *("google-chrome", "google-chrome-stable", "chrome", "chromium", "chromium-browser"),
    *("microsoft-edge", "msedge"),
)
MAC_APPS = ("Google Chrome", "Chromium", "Microsoft Edge")
WINDOWS_FOLDERS = ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")
WINDOWS_PROGRAMS = ("Google/Chrome/Application/chrome.exe", "Microsoft/Edge/Application/msedge.exe")
# Chromium brings no fonts; these have Latin, Cyrillic, Hebrew and Arabic, then Chinese, then emoji.
PACKAGES = ("chromium", "fonts-dejavu-core", "fonts-noto-cjk", "fonts-noto-color-emoji")
HELP = f"""The page is tested in Chrome, Chromium or Edge, and none was found. Install one:
  Debian: apt-get install {" ".join(PACKAGES)}
  Ubuntu, macOS, Windows: Google Chrome
or name its program in the environment variable {VARIABLE}."""


class BrowserMissingError(Exception):
    """No browser was found; the message says what to install."""


def find_browser(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> str:
    """Path of the browser that the environment names, else of the first one found.

    Raises:
        BrowserMissingError: there is none, or what is named is no program.
    """
    path, named = environment.get("PATH", ""), environment.get(VARIABLE)
    for name in [named] if named else [*NAMES, *_programs(environment, platform)]:
        found = shutil.which(name, path=path)
        if found:
            return found
    raise BrowserMissingError(f"{VARIABLE} names {named}, which is no program.\n{HELP}" if named else HELP)


def _programs(environment: Mapping[str, str], platform: str) -> list[str]:
    """Where browsers stand that are not on PATH."""
    if platform == "darwin":
        folders = [Path("/Applications"), Path(environment.get("HOME", ""), "Applications")]
        return [str(folder / f"{app}.app/Contents/MacOS/{app}") for folder in folders for app in MAC_APPS]
    folders = [Path(environment[name]) for name in WINDOWS_FOLDERS if name in environment]
    return [str(folder / program) for folder in folders for program in WINDOWS_PROGRAMS]


def install_commands(root: bool, environment: Mapping[str, str] = os.environ) -> list[list[str]]:
    """Commands that install Debian's Chromium; none without apt-get or the right to use it."""
    apt, sudo = (shutil.which(name, path=environment.get("PATH", "")) for name in ("apt-get", "sudo"))
    if apt is None or not (root or sudo):
        return []
    # -n lets sudo fail where it would ask for a password.
    start = [*([] if root else [str(sudo), "-n"]), "env", "DEBIAN_FRONTEND=noninteractive", apt, "--quiet"]
    return [[*start, "update"], [*start, "--yes", "--no-install-recommends", "install", *PACKAGES]]


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def main() -> None:
    """Make sure that there is a browser: say which one, or fail with what to install."""
    try:
        find_browser()
    except BrowserMissingError:
        for command in install_commands(is_root()):
            if subprocess.run(command, check=False).returncode:
                break
    try:
        print(f"browser: {find_browser()}")
    except BrowserMissingError as missing:
        sys.exit(str(missing))


if __name__ == "__main__":
    main()
