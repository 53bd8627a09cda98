"""What stands at a model's path, seen from its files alone: cheap, and before anything is loaded.

Each kind of folder or file that is not a whole model is named, with what to do. Hub ids pass:
what they hold is seen when they are loaded (`weights.py`). Nothing heavy is imported here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from srl_data.command.errors import DataError
from srl_eval.generate.stored_types import quantised_weight

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_LFS = b"version https://git-lfs"
_TO_SAFETENSORS = "save it as safetensors: `save_pretrained` of transformers writes them"


class Fetching(TypedDict):
    """What every `from_pretrained` of transformers is told."""

    revision: str
    cache_dir: Path | None
    local_files_only: bool


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from: a local folder, or a hub id with its revision.

    `local` says that the name is a path whatever it looks like.
    """

    name: str
    revision: str | None = None
    cache_dir: Path | None = None
    local: bool = False

    @property
    def folder(self) -> Path | None:
        """The local path, whether or not something is there; None for a hub id."""
        looks_local = self.name.startswith((".", "/", "~")) or self.name.count("/") > 1
        path = Path(self.name)
        return path if self.local or looks_local or path.exists() else None

    @property
    def fetching(self) -> Fetching:
        """Where to look, for `from_pretrained`; a local folder never asks a hub."""
        return {
            "revision": self.revision or "main",
            "cache_dir": self.cache_dir,
            "local_files_only": self.folder is not None,
        }


def check_files(source: ModelSource, *, weights: bool = True, quantised: bool = False) -> None:
    """DataError in one line where a local path is not a whole model, saying what it is instead.

    Without `weights` it only has to say which model it is: they are elsewhere. `quantised` weights
    pass where something else than transformers reads them.
    """
    folder = source.folder
    if folder is None:
        return
    if not folder.is_dir():
        raise DataError(_no_folder(folder))
    found = _other_kind(folder)
    if found is not None:
        raise DataError(f"model folder {str(folder)!r} {found}")
    if not quantised:
        refuse_quantised(source.name, read_config(folder))
    if weights:
        _check_types(folder, _check_weights(folder), quantised=quantised)


def read_config(folder: Path) -> dict[str, object]:
    """The folder's config.json; DataError where it is none."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    if not isinstance(config, dict):
        raise DataError(f"{path} is damaged: expected an object, found {type(config).__name__}")
    return config


def refuse_quantised(name: str, config: dict[str, object]) -> None:
    """DataError for weights stored in a quantised format, from config.json's content."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        settings = part.get("quantization_config") or part.get("compression_config")
        if settings:
            raise DataError(
                f"model {name!r} holds quantised weights ({_method(settings)}); expected plain "
                "float32, bfloat16 or float16 ones: name the model that it was quantised from"
            )


def _method(settings: object) -> str:
    """The name of a quantisation, as its settings tell it."""
    if not isinstance(settings, dict):
        return "unknown method"
    if settings.get("quant_method"):
        return str(settings["quant_method"])
    bits = [key for key in ("load_in_4bit", "load_in_8bit") if settings.get(key)]
    return f"bitsandbytes, {bits[0]}" if bits else "unknown method"


def _no_folder(path: Path) -> str:
    """Why a path is not a folder."""
    if path.suffix == ".gguf" and path.is_file():
        return f"model {str(path)!r} is a GGUF file: {_GGUF}"
    if path.is_file():
        return f"model {str(path)!r} is a file; expected a folder with {CONFIG}, or a hub id"
    home = "; `~` is the shell's to resolve: write the path out" if str(path)[0] == "~" else ""
    return f"model folder {path} does not exist; expected one with {CONFIG} and weights{home}"


_GGUF = (
    "weights quantised for llama.cpp, which cannot be read here; name the folder of the model "
    "that it was made from"
)


def _other_kind(folder: Path) -> str | None:
    """What a folder is instead of a transformers model; None where it may be one."""
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return "is empty: it holds no model"
    if "adapter_config.json" in names:
        return _adapter(folder)
    if CONFIG in names:
        return _pointer(folder)
    if any(name.endswith(".gguf") for name in names):
        return f"holds a GGUF file: {_GGUF}"
    steps = [
        name
        for name in names
        if name.startswith(("step_", "ei_step_")) and (folder / name).is_dir()
    ]
    if steps:
        return f"is a run's folder: name a checkpoint in it, such as {str(folder / steps[-1])!r}"
    if "params.json" in names:
        return f"holds a model in its maker's own format (params.json): {_TO_SAFETENSORS}"
    return f"has no {CONFIG}: it holds no transformers model"


def _adapter(folder: Path) -> str:
    """A LoRA folder, with the base that its adapter belongs to."""
    try:
        base = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        name = repr(base["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError):
        name = "its base model"
    return (
        f"is a LoRA adapter, not a whole model: merge it into {name} first "
        "(peft: `merge_and_unload()`, then `save_pretrained`)"
    )


def _pointer(folder: Path) -> str | None:
    """The first file that Git LFS has left as a pointer, if there is one."""
    for path in sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.json")):
        with path.open("rb") as file:
            if file.read(len(_LFS)) == _LFS:
                return f"holds Git LFS pointers instead of files ({path.name}): run `git lfs pull`"
    return None


def _check_types(folder: Path, names: set[str], *, quantised: bool) -> None:
    """DataError where the files `names` hold quantised weights that config.json does not tell."""
    for name in () if quantised else sorted(names):
        found = quantised_weight(folder / name)
        if found is not None:
            key, dtype = found
            raise DataError(
                f"model {str(folder)!r} holds quantised weights ({key} in {name} is {dtype}); "
                "expected plain float32, bfloat16 or float16 ones: name the model that it was "
                "quantised from"
            )


def _check_weights(folder: Path) -> set[str]:
    """The files of the weights; DataError where some are missing, or are only there as pickles."""
    needed = {WEIGHTS}
    if (folder / INDEX).is_file():
        try:
            mapped = json.loads((folder / INDEX).read_text("utf-8"))["weight_map"].values()
            needed = {str(name) for name in mapped}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{folder / INDEX} is damaged: {error}") from error
    missing = sorted(name for name in needed if not (folder / name).is_file())
    if not missing:
        return needed
    pickled = sorted(folder.glob("pytorch_model*.bin"))
    if pickled and needed == {WEIGHTS}:
        raise DataError(
            f"model folder {str(folder)!r} holds its weights as a pickle ({pickled[0].name}), "
            f"which can run code when it is read; {_TO_SAFETENSORS}"
        )
    shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    raise DataError(f"model folder {str(folder)!r} is not a whole model: {shown} missing")
