"""Where a model comes from: a bundled name, a folder, or a repository on the hub."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from transformers import PreTrainedConfig

from patchlens import demo
from patchlens.errors import ModelNotFoundError, UnsupportedModelError

UNREACHED = {
    *("OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectionError", "ConnectError"),
    *("ConnectTimeout", "ReadTimeout", "ProxyError"),
}
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl")


@dataclass(frozen=True)
class ModelSource:
    """A resolved model: what to hand to transformers, and whether the network must stay out of it.

    ``is_offline`` says that a hub model is taken from the cache, because the hub cannot be reached.
    """

    name: str
    location: str
    is_local: bool
    revision: str | None = None
    is_offline: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for every ``from_pretrained``."""
        stay = {"local_files_only": self.is_local or self.is_offline}
        return stay if self.is_local else stay | {"revision": self.revision}


def resolve(name: str, revision: str | None) -> ModelSource:
    """Decide whether a name is bundled, a folder, or a hub id; nothing is fetched.

    Raises:
        ModelNotFoundError: it can be none of them.
    """
    bundled = bundled_models()
    if name in bundled:
        return ModelSource(name, str(bundled[name]), is_local=True)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelNotFoundError(f"{name} is a folder without a config.json, so it holds no model")
        return ModelSource(name, str(folder), is_local=True)
    near = difflib.get_close_matches(name, bundled, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; bundled models: {', '.join(bundled) or 'none'}"
    if name.count("/") > 1 or name.startswith((".", "/", "~")) or folder.is_file() or not name.strip():
        raise ModelNotFoundError(f"there is no folder {name!r}{hint}")
    return ModelSource(name, name, is_local=False, revision=revision)


def reach(source: ModelSource) -> ModelSource:
    """Ask the hub for the model once, so that being offline shows at once and not after many retries.

    Raises:
        ModelNotFoundError: the hub knows no such model, or cannot be reached and the cache has none.
    """
    if source.is_local:
        return source
    try:
        HfApi().model_info(source.location, revision=source.revision, timeout=10)
    except Exception as error:  # the client's HTTP library, and so its errors, differ between releases
        if isinstance(error, (HfHubHTTPError, HFValidationError)) or not _is_cached(source):
            raise not_found(source, error) from error
        return replace(source, is_offline=True)
    return source


def _is_cached(source: ModelSource) -> bool:
    found = try_to_load_from_cache(source.location, "config.json", revision=source.revision)
    return isinstance(found, str)


def bundled_models() -> Mapping[str, Path]:
    """Name and folder of the models that come with patchlens."""
    return {name: folder for name, folder in demo.bundled_models().items() if folder.is_dir()}


def read_config(source: ModelSource) -> dict[str, Any]:
    """The model's config as a plain dictionary, without running any of its code.

    Raises:
        ModelNotFoundError: there is no such model, or the hub cannot be reached.
    """
    try:
        config, _ = PreTrainedConfig.get_config_dict(source.location, **source.options)
    except (OSError, ValueError) as error:
        raise not_found(source, error) from error
    if not config:
        raise ModelNotFoundError(f"{source.name} has no config.json, so it holds no model")
    return config


def refuse_pickles(source: ModelSource) -> None:
    """Refuse a folder that holds its weights only as pickles, which can run any code when read.

    Raises:
        UnsupportedModelError: it does.
    """
    folder = Path(source.location)
    if not source.is_local or any(folder.glob("*.safetensors")):
        return
    pickles = [path.name for pattern in PICKLES for path in folder.glob(pattern)]
    if pickles:
        raise UnsupportedModelError(
            f"{source.name} holds its weights only as pickles ({pickles[0]}), which can run any code when "
            "they are read; if you trust where they come from, allow it with allow_pickle=True"
        )
    raise ModelNotFoundError(f"{source.name} has a config.json but no *.safetensors weights beside it")


def not_found(source: ModelSource, error: BaseException) -> ModelNotFoundError:
    """One line that says why a model could not be fetched, from the chain of errors beneath."""
    chain = list(_chain(error))
    kinds = {type(link).__name__ for link in chain}
    bundled = bundled_models()
    near = difflib.get_close_matches(source.name, bundled, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    if source.is_local:
        return ModelNotFoundError(f"{source.name} cannot be loaded: {_first_line(error)}")
    if "GatedRepoError" in kinds or "gated repo" in str(error):
        return ModelNotFoundError(
            f"{source.name} is gated: accept its licence on the hub and log in with 'hf auth login'"
        )
    if kinds & {"RepositoryNotFoundError", "HFValidationError"}:
        return ModelNotFoundError(
            f"there is no model {source.name!r} on the hub, or you have no access to it"
            f"{hint or _bundled(bundled)}"
        )
    if "RevisionNotFoundError" in kinds:
        return ModelNotFoundError(f"{source.name} has no revision {source.revision!r}")
    if kinds & UNREACHED:
        return ModelNotFoundError(
            f"{source.name} is not on this machine and the hub cannot be reached (offline?)"
            f"{hint or _bundled(bundled)}"
        )
    return ModelNotFoundError(f"{source.name} cannot be loaded: {_first_line(error)}{hint}")


def _bundled(bundled: Mapping[str, Path]) -> str:
    return f"; bundled models: {', '.join(bundled)}" if bundled else ""


def _chain(error: BaseException | None) -> Any:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def chat_template(source: ModelSource, tokenizer: Any) -> str | None:
    """The chat template the tokenizer or the model's own file states, or None."""
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if isinstance(template, str):
        return template
    legacy = Path(source.location) / "chat_template.json"
    if source.is_local and legacy.is_file():
        return str(json.loads(legacy.read_text(encoding="utf-8"))["chat_template"])
    return None
