"""The transformers part of a checkpoint: config, generation config, weights, tokenizer.

A folder that plain transformers loads, and older ones read alike; each weight is in it once, and
its files are as readable as the user's umask has it. `try_saving` does all but the weights before
the first step, so that nothing a model brings along ends a run at its first checkpoint.
"""

import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch import Tensor
from transformers import AutoConfig, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from srl_data.command.errors import DataError
from srl_data.files import write_json
from srl_eval.generate.architectures import reason
from srl_eval.generate.folders import CONFIG, ModelSource
from srl_eval.generate.tokenizers import PROBES, load_tokenizer
from srl_eval.generate.weights import quiet_transformers

GENERATION_CONFIG = "generation_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"


def save_model_folder(
    folder: Path,
    model: PreTrainedModel,
    weights: dict[str, Tensor],
    tokenizer: PreTrainedTokenizerBase | None,
) -> None:
    """Write `model` with `weights`, its whole state by key, and the tokenizer into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    generation = model.generation_config
    # transformers refuses to save some generation configs that it loads: theirs is written below.
    model.generation_config = GenerationConfig()
    try:
        model.save_pretrained(folder, state_dict=sharing_tied(model, weights))
    finally:
        model.generation_config = generation
    if model.can_generate():
        generation.to_json_file(folder / GENERATION_CONFIG, use_diff=True)
    add_older_names(folder)
    if tokenizer is not None:
        save_tokenizer(folder, tokenizer)
    open_to_umask(folder)


def save_tokenizer(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write the tokenizer; a class name that only transformers 5 knows gets its older one."""
    tokenizer.save_pretrained(folder)
    path = folder / TOKENIZER_CONFIG
    if path.is_file():
        settings = json.loads(path.read_text("utf-8"))
        if settings.get("tokenizer_class") == "TokenizersBackend":
            write_json(path, settings | {"tokenizer_class": "PreTrainedTokenizerFast"})


def sharing_tied(model: PreTrainedModel, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`weights` in which the names of one tied parameter share one tensor, as in the model.

    transformers then writes it once, under the name that it looks for when it loads.
    """
    first: dict[int, str] = {}
    shared = dict(weights)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        leader = first.setdefault(id(parameter), name)
        if leader != name and leader in weights and name in weights:
            shared[name] = weights[leader]
    return shared


def open_to_umask(folder: Path) -> None:
    """Give every file the umask's mode; safetensors writes its own for one user alone."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~umask)


def add_older_names(folder: Path) -> None:
    """Write rotary settings into config.json under the names of transformers 4 as well.

    It passes over `rope_parameters` in silence and takes a base of 10,000 instead. Where both forms
    do not read back as one config, the file stays as it is.
    """
    path = folder / CONFIG
    plain = path.read_text("utf-8")
    before = AutoConfig.from_pretrained(folder).to_dict()
    write_json(path, with_older_names(json.loads(plain)))
    try:
        same = AutoConfig.from_pretrained(folder).to_dict() == before
    except Exception:  # noqa: BLE001 - whatever a config class makes of a name that it once had
        same = False
    if not same:
        path.write_text(plain, "utf-8")


def with_older_names(config: dict[str, object]) -> dict[str, object]:
    """`config` with `rope_theta`, `rope_scaling` and the like beside `rope_parameters`."""
    text = config.get("text_config")
    whole = config | {"text_config": with_older_names(text)} if isinstance(text, dict) else config
    rope = config.get("rope_parameters")
    if not isinstance(rope, dict):
        return whole
    if isinstance(rope.get("full_attention"), dict):
        return older_per_kind(rope) | whole
    return older_rope(rope, str(config.get("model_type"))) | whole


def older_rope(rope: dict[str, object], model_type: str) -> dict[str, object]:
    """The settings of one kind of rotary positions under their older names."""
    neox = model_type.startswith("gpt_neox")
    older: dict[str, object] = {}
    if "rope_theta" in rope:
        older["rotary_emb_base" if neox else "rope_theta"] = rope["rope_theta"]
    if "partial_rotary_factor" in rope:
        older["rotary_pct" if neox else "partial_rotary_factor"] = rope["partial_rotary_factor"]
    if rope.get("rope_type", "default") != "default":
        own = {"rope_theta", "partial_rotary_factor"}
        older["rope_scaling"] = {k: v for k, v in rope.items() if k not in own}
    return older


def older_per_kind(rope: dict[str, object]) -> dict[str, object]:
    """Gemma 3's two kinds: one base for full attention, another for sliding."""
    full, sliding = rope["full_attention"], rope.get("sliding_attention")
    assert isinstance(full, dict)
    older = older_rope(full, "")
    if isinstance(sliding, dict) and "rope_theta" in sliding:
        older["rope_local_base_freq"] = sliding["rope_theta"]
    return older


def mend_generation_config(model: PreTrainedModel, note: Callable[[str], None]) -> None:
    """Set `do_sample` where a generation config has sampling's values without it, and say so.

    What else transformers calls invalid has no bearing here and is kept as it is.
    """
    generation = model.generation_config
    fault = fault_of(generation)
    if fault is None:
        return
    before = generation.do_sample
    generation.do_sample = True
    if before is not True and "do_sample" in fault:
        note(f"{GENERATION_CONFIG} has sampling's values without do_sample: it is set to true")
        fault = fault_of(generation)
    else:
        generation.do_sample = before
    if fault is not None:
        note(f"{GENERATION_CONFIG} is kept as it is, though transformers says: {fault}")


def fault_of(generation: GenerationConfig) -> str | None:
    """What transformers finds wrong with a generation config, in one line."""
    try:
        with quiet_transformers():
            generation.validate(strict=True)
    except ValueError as error:
        found = re.findall(r"- `(\w+)`: ([^.]+)", str(error))
        return "; ".join(f"{name}: {why}" for name, why in found) or reason(error)
    return None


def try_saving(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str, text: str = ""
) -> None:
    """Save all but the weights, read it back and compare; DataError where it does not come back.

    Args:
        name: what the model is called in errors.
        text: read by both tokenizers, besides the fixed probes.
    """
    with tempfile.TemporaryDirectory(prefix="srl-trial-") as scratch, quiet_transformers():
        folder = Path(scratch)
        try:
            save_model_folder(folder, model, {}, tokenizer)
            again = load_tokenizer(ModelSource(scratch, local=True), lambda _: None)
            AutoConfig.from_pretrained(folder)
            if (folder / GENERATION_CONFIG).is_file():
                GenerationConfig.from_pretrained(folder)
        except (DataError, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            raise DataError(
                f"model {name!r} could not be saved as a checkpoint: {reason(error)}"
            ) from error
    for probe in (*PROBES, text):
        if ids_of(again, probe) != ids_of(tokenizer, probe):
            raise DataError(
                f"the tokenizer of {name!r} reads {probe[:60]!r} otherwise once it is saved and "
                "loaded again, so that no checkpoint could be used"
            )


def ids_of(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids without tokens put around them."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids
