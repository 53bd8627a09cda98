#!/usr/bin/env python3
"""Small faults on purpose: each must be seen by a test that the list names.

    uv run scripts/mutants.py                       the whole list
    uv run scripts/mutants.py --sample 10 --seed 3  ten of it, the same ten for a seed
    uv run scripts/mutants.py NAME ...              these; --list names them all

`scripts/mutants.toml` holds the faults. One at a time is written into a copy of the packages, which
stands before the real ones on the import path; the checkout itself is never touched. A fault is
found by what the code says: by its text, wherever in the package it stands and however it is
wrapped, once and only once. Tests are found by their names in the same way.

Exit codes: 0 where every fault was seen, 1 where one survived, 2 where an entry or a test no longer
fits the code. Left out: faults in Rust, which `cargo test` compiles for itself.
"""

import argparse
import importlib.util
import io
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

LIMIT = 300
"""Seconds a test has on average; a fault that hangs them has been seen."""
PASSED, FAILED, BROKEN = 0, 1, 70
"""Exit codes of a test process; any but the first two says that pytest could not run."""


class ListError(Exception):
    """An entry that no longer fits the code; the message names it."""


@dataclass(frozen=True)
class Fault:
    """One entry of the list."""

    name: str
    package: str
    find: str
    replace: str
    seen_by: tuple[str, ...]


@dataclass(frozen=True)
class FaultList:
    """The whole list, and modules that are imported once for all of its tests."""

    faults: tuple[Fault, ...]
    preload: tuple[str, ...]


def read_list(path: Path) -> FaultList:
    """The list in a TOML file; ListError for an entry that lacks something."""
    tree = tomllib.loads(path.read_text(encoding="utf-8"))
    faults = [fault_of(entry) for entry in tree.get("fault", [])]
    names = [fault.name for fault in faults] + [
        entry.get("name") for entry in tree.get("retired", [])
    ]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise ListError(f"{path}: named twice: {', '.join(twice)}")
    for entry in tree.get("retired", []):
        if not entry.get("name") or not str(entry.get("reason", "")).strip():
            raise ListError(f"{path}: a retired entry needs its name and a reason: {entry}")
    return FaultList(tuple(faults), tuple(tree.get("preload", [])))


def fault_of(entry: dict[str, object]) -> Fault:
    """One entry; ListError naming what it lacks."""
    keys = {"name", "package", "find", "replace", "seen_by"}
    if entry.keys() != keys or not entry["seen_by"]:
        wrong = ", ".join(sorted(keys ^ entry.keys())) or "seen_by is empty"
        raise ListError(f"fault {entry.get('name')!r}: expected {sorted(keys)}, check {wrong}")
    seen_by = entry["seen_by"]
    assert isinstance(seen_by, list)
    texts = {key: str(entry[key]) for key in ("name", "package", "find", "replace")}
    return Fault(**texts, seen_by=tuple(map(str, seen_by)))


def pattern_of(text: str) -> re.Pattern[str]:
    """`text` as a pattern that takes any white space where it has some."""
    return re.compile(r"\s+".join(re.escape(word) for word in text.split()))


def apply(fault: Fault, sources: Path) -> tuple[Path, str]:
    """The file that a fault changes, and its text with the fault; ListError where it fits nowhere.

    `sources` holds the packages. The text must occur once, and what comes out must compile.
    """
    pattern = pattern_of(fault.find)
    files = sorted((sources / fault.package).rglob("*.py"))
    found = [(path, match) for path in files for match in pattern.finditer(path.read_text())]
    if len(found) != 1:
        where = ", ".join(str(path.relative_to(sources)) for path, _ in found) or "nowhere"
        raise ListError(
            f"fault {fault.name!r}: its text is found {len(found)} times in {fault.package} "
            f"({where}), expected once; say it as the code does, or retire it with a reason"
        )
    path, match = found[0]
    text = path.read_text()
    changed = text[: match.start()] + fault.replace + text[match.end() :]
    try:
        compile(changed, str(path), "exec")
    except SyntaxError as error:
        raise ListError(f"fault {fault.name!r}: {path.name} does not compile: {error}") from error
    return path, changed


def find_test(name: str, root: Path) -> str:
    """The pytest id of a test function, parameters in brackets included; ListError if not one."""
    function, bracket, parameters = name.partition("[")
    definition = re.compile(rf"^(?:async )?def {re.escape(function)}\(", re.MULTILINE)
    files = [*root.glob("packages/*/tests/**/test_*.py"), *root.glob("tests/**/test_*.py")]
    found = [path for path in sorted(files) if definition.search(path.read_text())]
    if len(found) != 1:
        raise ListError(f"test {name!r} is defined in {len(found)} test files, expected one")
    return f"{found[0].relative_to(root)}::{function}{bracket}{parameters}"


def copy_packages(root: Path, target: Path) -> None:
    """A copy of every package under `target`, as they are imported."""
    for package in sorted(root.glob("packages/*/src/*")):
        if package.is_dir():
            ignored = shutil.ignore_patterns("*.pyc", "_native.*.so")
            shutil.copytree(package, target / package.name, ignore=ignored)
    # An extension module is only where its package is installed.
    (installed,) = importlib.util.find_spec("srl_reward").submodule_search_locations  # type: ignore[union-attr,misc]  # it is installed
    for module in Path(installed).glob("_native.*"):
        shutil.copy(module, target / "srl_reward")


def run_tests(tests: Sequence[str], root: Path, sources: Path, log: Path) -> None:
    """The body of a test process: pytest over `tests` with `sources` first on the import path."""
    import pytest

    os.chdir(root)
    sys.path.insert(0, str(sources))
    os.environ["PYTHONPATH"] = str(sources)  # for the commands that tests start
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    # Plain asserts: what was preloaded could not be rewritten, and pytest would warn of it.
    quiet = ["-q", "-x", "--assert=plain", "-p", "no:cacheprovider", "--no-header", "-n0"]
    code = BROKEN
    try:
        with log.open("w") as file, redirect_stdout(file), redirect_stderr(file):
            code = int(pytest.main([*quiet, "-m", "", *tests]))
    finally:
        os._exit(code)  # pytest's own code, whatever else would be done at the end of a process


def outcome(tests: Sequence[str], root: Path, sources: Path, log: Path) -> int | None:
    """Exit code of pytest in a process of its own; None where it did not end in `LIMIT` a test."""
    fork = multiprocessing.get_context("fork")  # what was preloaded is there already
    process = fork.Process(target=run_tests, args=(tests, root, sources, log))
    process.start()
    process.join(LIMIT * len(tests))
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return process.exitcode


def check_baseline(tests: Sequence[str], root: Path, sources: Path, log: Path) -> None:
    """ListError where the tests do not pass without a fault: nothing could be learned then."""
    if outcome(tests, root, sources, log) != PASSED:
        raise ListError(f"the tests do not pass without a fault:\n{log.read_text()[-3000:]}")


def survives(fault: Fault, tests: Sequence[str], root: Path, sources: Path, log: Path) -> bool:
    """Whether every test passes with the fault in the copy, which is mended again."""
    path, changed = apply(fault, sources)
    before = path.read_text()
    path.write_text(changed)
    try:
        code = outcome(tests, root, sources, log)
    finally:
        path.write_text(before)
    if code not in (PASSED, FAILED, None):
        raise ListError(
            f"fault {fault.name!r}: pytest could not run (exit code {code}):\n"
            f"{log.read_text()[-3000:]}"
        )
    return code == PASSED


def chosen(
    faults: Sequence[Fault], names: Sequence[str], sample: int | None, seed: int
) -> list[Fault]:
    """The faults that were asked for, in order of the list."""
    unknown = sorted(set(names) - {fault.name for fault in faults})
    if unknown:
        raise ListError(f"no fault is named {unknown[0]!r}; --list names them")
    some = [fault for fault in faults if not names or fault.name in names]
    if sample is not None and sample < len(some):
        keep = set(random.Random(seed).sample(range(len(some)), sample))
        some = [fault for number, fault in enumerate(some) if number in keep]
    return some


def run(faults: Sequence[Fault], root: Path) -> list[Fault]:
    """Try each fault and print what became of it, with its time; returns the survivors."""
    survivors = []
    with tempfile.TemporaryDirectory(prefix="mutants.") as scratch:
        sources, log = Path(scratch) / "packages", Path(scratch) / "log"
        copy_packages(root, sources)
        for fault in faults:
            apply(fault, sources)  # all of them fit, before the first is tried
        tests = {fault: [find_test(name, root) for name in fault.seen_by] for fault in faults}
        every = sorted({test for some in tests.values() for test in some})
        began = time.monotonic()
        check_baseline(every, root, sources, log)
        print(
            f"without a fault: {len(every)} tests pass, {time.monotonic() - began:.0f} s",
            flush=True,
        )
        for fault in faults:
            start = time.monotonic()
            alive = survives(fault, tests[fault], root, sources, log)
            survivors += [fault] if alive else []
            state = "SURVIVES" if alive else "seen    "
            print(f"{state}  {time.monotonic() - start:5.1f} s  {fault.name}", flush=True)
    return survivors


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults to try; default all")
    parser.add_argument("--sample", type=int, metavar="N", help="try N of them")
    parser.add_argument("--seed", type=int, default=0, help="which N; default 0")
    parser.add_argument("--list", action="store_true", help="name the faults and their tests")
    parser.add_argument("--file", type=Path, default=here / "mutants.toml", help="the list")
    parser.add_argument("--root", type=Path, default=here.parent, help="the checkout")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = parse(arguments)
    began = time.monotonic()
    try:
        known = read_list(options.file)
        faults = chosen(known.faults, options.names, options.sample, options.seed)
        if options.list:
            for fault in faults:
                print(f"{fault.name}: {', '.join(fault.seen_by)}")
            return 0
        for name in known.preload:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                importlib.import_module(name)
        survivors = run(faults, options.root.resolve())
    except ListError as error:
        print(f"mutants: error: {error}", file=sys.stderr)
        return 2
    seconds = time.monotonic() - began
    print(f"{len(faults) - len(survivors)} of {len(faults)} faults seen in {seconds:.0f} s")
    for fault in survivors:
        print(f"survives: {fault.name}: none of {', '.join(fault.seen_by)} failed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
