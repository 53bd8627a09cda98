"""The folder of one training run: what lies where, how it is begun, resumed and read back.

`config.yaml` is the resolved config, `sys/` says where and with what the run was made, `rollouts/`
holds what the model wrote, one file per step. Metrics are `srl_grpo.run.trackers`'s, checkpoints
the trainer's; whether a resumed config still fits is the trainer's to judge as well.
"""

import io
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import distributions, version
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from srl_data.command.config import Section, dump_yaml
from srl_data.command.errors import ConfigError, DataError
from srl_data.files import atomic_writer, write_json, write_text
from srl_data.lock import FolderLock
from srl_data.outputs import check_writable
from srl_data.records import finite_line, numbered_lines, parse_object

ROLLOUT_FILE = re.compile(r"step_(\d+)\.jsonl\.zst")
MAX_WINDOW = 1 << 27
"""Largest zstandard window accepted when reading: a bound on what a hostile file can allocate."""

SECRET_NAME = re.compile(
    r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|AUTH|COOKIE|(^|_)(PAT|PASS|PWD|DSN)$",
    re.IGNORECASE,
)
SECRET_VALUE = re.compile(
    r"://[^/\s@]*:[^/\s@]*@|BEGIN .*PRIVATE"
    r"|\b(hf_|ghp_|gho_|github_pat_|glpat-|sk-|xox[bp]-|AKIA)\w{8}"
)
"""URLs with `user:password@`, and the shapes that common services give their tokens."""

Rollout = dict[str, object]
"""One line of a rollout file: step, id, sample, prompt, completion, thinking, action, target,
reward, advantage, reason (why the output is invalid), finish_reason, kept, columns."""


@dataclass(frozen=True)
class RunDirectory:
    """Names of what a run writes; making the folders is left to what writes into them."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        """Packages, hardware, git state and environment of the run's first start."""
        return self.path / "sys"

    @property
    def metrics(self) -> Path:
        """One JSON object per step."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def summary(self) -> Path:
        """Before and after, where the run measured both."""
        return self.path / "summary.json"

    @property
    def before(self) -> Path:
        """The evaluation before the first step, where the run compares with it."""
        return self.path / "before.json"

    @property
    def report(self) -> Path:
        """The page that `srl-grpo report` writes."""
        return self.path / "report.html"

    def samples(self, step: int) -> Path:
        """Where the chunks lie that were generated for `step`, kept as they came."""
        return self.path / "samples" / f"step_{step:06d}"

    def kept(self, step: int) -> Path:
        """The supervised pairs that `step` trained on, where it chose them itself."""
        return self.path / "kept" / f"step_{step:06d}.jsonl"

    def rollout_file(self, step: int) -> Path:
        """Where the rollouts of `step` lie."""
        return self.path / "rollouts" / f"step_{step:06d}.jsonl.zst"

    def rollout_files(self) -> dict[int, Path]:
        """Rollout files by step, ascending."""
        found = {}
        for path in (self.path / "rollouts").glob("step_*.jsonl.zst"):
            if name := ROLLOUT_FILE.fullmatch(path.name):
                found[int(name[1])] = path
        return dict(sorted(found.items()))

    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        begun = self.config.exists() or self.metrics.exists() or bool(self.rollout_files())
        names = ("step_*", "ei_step_*")
        return begun or any(any(self.path.glob(f"{name}/MANIFEST.json")) for name in names)

    def write_rollouts(self, step: int, records: Iterable[Mapping[str, object]]) -> int:
        """Atomically write the rollouts of a step; returns how many there were."""
        return write_rollouts(self.rollout_file(step), records)

    def read_rollouts(self, step: int) -> Iterator[Rollout]:
        """Stream the rollouts of a step."""
        return read_rollouts(self.rollout_file(step))

    def rewind(self, step: int) -> None:
        """Remove rollouts of steps after `step`: a run resumed there writes them again.

        Chunks in `samples/` stay: they are known by the weights that wrote them. What was being
        written when a kill came goes.
        """
        for later, path in self.rollout_files().items():
            if later > step:
                path.unlink()
                self.kept(later).unlink(missing_ok=True)
        for folder in ("rollouts", "samples", "kept"):
            for cut_short in (self.path / folder).rglob(".*.tmp"):  # by a kill while it was written
                cut_short.unlink()


def utc_stamp() -> str:
    """Now, as it stands in names: 20260131T235959Z."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def default_run_path(root: Path = Path("runs")) -> Path:
    """`runs/<UTC stamp>_<git sha>`, with the package's version where there is no git."""
    sha = git_state().sha
    return root / f"{utc_stamp()}_{sha[:10] if sha else 'v' + version('srl-grpo')}"


def check_folder(path: Path) -> None:
    """ConfigError where a run's folder is a file or cannot be written; nothing is made."""
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--output-dir {path} is a file; give a folder's name")
    check_writable(RunDirectory(path).config)


def begin_run(
    config: Section, output_dir: Path | None = None, lock: FolderLock | None = None
) -> RunDirectory:
    """Make the folder of a new run, lock it and record its config and environment.

    Raises LockedError where another process begins a run in it at the same time, and ConfigError
    (exit code 2) where `output_dir` is a file, cannot be written or already holds a run; other
    files in the folder are left alone.
    """
    run = RunDirectory(output_dir or default_run_path())
    check_folder(run.path)
    run.path.mkdir(parents=True, exist_ok=True)
    if lock is not None:
        lock.take(run.path)
    if run.holds_run():
        raise ConfigError(
            f"--output-dir {run.path} already holds a run; continue it with --resume auto, "
            "or give another --output-dir"
        )
    write_environment(run.environment)
    write_text(run.config, dump_yaml(config))
    return run


def resume_run(path: Path, config: Section, step: int) -> RunDirectory:
    """Reopen a run that is resumed after `step`: later rollouts are removed, the config rewritten.

    The environment of the first start stays; that of this one lies beside it, in
    `sys/resumed_<UTC stamp>/`.
    """
    run = open_run(path)
    run.rewind(step)
    write_environment(run.environment / f"resumed_{utc_stamp()}")
    write_text(run.config, dump_yaml(config))
    return run


def open_run(path: Path) -> RunDirectory:
    """An existing run's folder; DataError (exit code 3) where there is none."""
    run = RunDirectory(path)
    if not path.exists():
        raise DataError(f"no such run directory: {path}")
    if not path.is_dir():
        raise DataError(f"expected a run directory, found a file: {path}")
    if not run.holds_run():
        raise DataError(
            f"{path} is not a run directory: it has no config.yaml, metrics.jsonl or rollouts/; "
            "give the --output-dir of a training run"
        )
    return run


def write_rollouts(path: Path, records: Iterable[Mapping[str, object]]) -> int:
    """Atomically write `records` as zstandard-compressed JSON Lines; returns how many."""
    count = 0
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    with atomic_writer(path) as file, compressor.stream_writer(file, closefd=False) as packed:
        for record in records:
            packed.write(finite_line(record))
            count += 1
    return count


def read_rollouts(path: Path) -> Iterator[Rollout]:
    """Stream the records of a rollout file, one line in memory at a time.

    Raises DataError with file and line where it is missing, cut short or not JSON.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"cannot read rollouts {path}: {error.strerror}") from error
    with file:
        unpacked = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(file)
        lines = numbered_lines(cast(BinaryIO, io.BufferedReader(unpacked)), path)
        yield from parsed(lines, path)


def parsed(lines: Iterator[tuple[int, bytes]], path: Path) -> Iterator[Rollout]:
    """The objects of numbered lines, with every failure as a DataError."""
    last = 0
    try:
        for number, line in lines:
            last = number
            yield parse_object(line)
    except zstandard.ZstdError as error:
        raise DataError(f"{path}: damaged after line {last}: {error}; remove the file") from error
    except ValueError as error:
        raise DataError(f"{path}:{last}: {error}; the file is damaged, remove it") from error


@dataclass(frozen=True)
class GitState:
    """The commit that the code came from; all None outside a git checkout."""

    sha: str | None = None
    branch: str | None = None
    changed: list[str] | None = None
    """Files that differ from the commit, or that git does not know."""


def git(*arguments: str) -> str | None:
    """Output of a git command run where this package lies; None where it fails."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            ["git", *arguments],  # noqa: S607 - whichever git the user has
            cwd=here,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.rstrip()


def git_state() -> GitState:
    """Commit, branch and changed files of the checkout that this package runs from."""
    sha = git("rev-parse", "HEAD")
    if sha is None:
        return GitState()
    changed = (git("status", "--porcelain") or "").splitlines()
    return GitState(sha, git("rev-parse", "--abbrev-ref", "HEAD"), changed)


def safe_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment variables by name, without those whose name or value looks like a secret."""
    return {
        name: value
        for name, value in sorted(variables.items())
        if not SECRET_NAME.search(name) and not SECRET_VALUE.search(value)
    }


@cache
def package_versions() -> list[str]:
    """Installed distributions as sorted `name==version` lines; read once in a process."""
    return sorted({f"{item.name.lower()}=={item.version}" for item in distributions()})


def first_value(path: Path, key: str) -> str | None:
    """The value of the first `key: value` line of a file of the kernel; None without one."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def gpus() -> list[dict[str, object]]:
    """Name, memory and compute capability of each visible GPU.

    Asked only where torch is loaded already, so that a command without torch stays quick.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [
        {"name": gpu.name, "memory_bytes": gpu.total_memory, "capability": [gpu.major, gpu.minor]}
        for gpu in found
    ]


def hardware() -> dict[str, object]:
    """Processor, memory, GPUs, system and Python of this machine."""
    torch = sys.modules.get("torch")
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu": first_value(Path("/proc/cpuinfo"), "model name") or platform.machine(),
        "cpus": os.cpu_count(),
        "memory": first_value(Path("/proc/meminfo"), "MemTotal"),
        "gpus": gpus(),
        "cuda": torch.version.cuda if torch is not None else None,
        "arithmetic": arithmetic(),
    }


def arithmetic() -> dict[str, object]:
    """What may decide a result's last digits on a CPU: the instructions, the BLAS, the threads."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    config = torch.__config__.show()
    return {
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "blas": next(iter(re.findall(r"BLAS_INFO=(\w+)", config)), None),
        "mkl": torch.backends.mkl.is_available(),
        "mkldnn": torch.backends.mkldnn.is_available(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
    }


def write_environment(folder: Path) -> None:
    """Write packages.txt, hardware.json, git.json and environment.json into `folder`."""
    write_text(folder / "packages.txt", "\n".join(package_versions()) + "\n")
    write_json(folder / "hardware.json", hardware())
    write_json(folder / "git.json", asdict(git_state()))
    write_json(folder / "environment.json", safe_environment(os.environ))
