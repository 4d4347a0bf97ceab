"""A browser is found where it is, named by the environment, installed on Debian, or asked for plainly."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from browser import find
from browser.find import BrowserMissingError, find_browser, install_commands


def program(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_a_browser_on_path_is_found(tmp_path: Path) -> None:
    chromium = program(tmp_path / "b" / "chromium")
    environment = {"PATH": f"{tmp_path / 'a'}:{tmp_path / 'b'}"}
    assert find_browser(environment, "linux") == chromium
    chrome = program(tmp_path / "a" / "google-chrome")
    assert find_browser(environment, "linux") == chrome


def test_a_browser_in_the_systems_program_folder_is_found(tmp_path: Path) -> None:
    safari = program(tmp_path / "Applications/Safari.app/Contents/MacOS/Safari")
    mac, windows = {"PATH": "", "HOME": str(tmp_path)}, {"PATH": "", "LOCALAPPDATA": str(tmp_path)}
    chromium = program(tmp_path / "Applications/Chromium.app/Contents/MacOS/Chromium")
    chrome = program(tmp_path / "Google/Chrome/Application/chrome.exe")
    assert find_browser(mac, "darwin") == chromium != safari
    assert find_browser(windows, "win32") == chrome


def test_the_environment_names_a_browser(tmp_path: Path) -> None:
    program(tmp_path / "chromium")
    mine = program(tmp_path / "mine")
    environment = {"PATH": str(tmp_path), find.VARIABLE: mine}
    assert find_browser(environment, "linux") == mine
    (tmp_path / "mine").chmod(0o644)
    with pytest.raises(BrowserMissingError, match=f"{find.VARIABLE} names {mine}, which is no program"):
        find_browser(environment, "linux")


def test_without_a_browser_one_message_says_what_to_install(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(find, "find_browser", lambda: find_browser({"PATH": str(tmp_path)}, "linux"))
    monkeypatch.setattr(find, "install_commands", lambda root: [[sys.executable, "-c", "exit(1)"]])
    with pytest.raises(SystemExit) as stop:
        find.main()
    assert stop.value.code == find.HELP
    assert "apt-get install chromium" in find.HELP
    assert find.VARIABLE in find.HELP


def test_what_is_missing_is_installed_where_that_is_possible(tmp_path: Path, monkeypatch, capsys) -> None:
    chromium = tmp_path / "chromium"
    make = f"from pathlib import Path; p = Path({str(chromium)!r}); p.write_text('#!/bin/sh'); p.chmod(0o755)"
    monkeypatch.setattr(find, "find_browser", lambda: find_browser({"PATH": str(tmp_path)}, "linux"))
    monkeypatch.setattr(find, "install_commands", lambda root: [[sys.executable, "-c", make]])
    find.main()
    assert capsys.readouterr().out == f"browser: {chromium}\n"


def test_only_who_may_installs(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path)}
    assert install_commands(True, environment) == []
    apt = program(tmp_path / "apt-get")
    assert install_commands(False, environment) == []
    update, install = install_commands(True, environment)
    assert update == ["env", "DEBIAN_FRONTEND=noninteractive", apt, "--quiet", "update"]
    assert install[-len(find.PACKAGES) :] == list(find.PACKAGES)
    sudo = program(tmp_path / "sudo")
    assert [command[:3] for command in install_commands(False, environment)] == [[sudo, "-n", "env"]] * 2
