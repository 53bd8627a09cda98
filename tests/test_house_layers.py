"""What may import what: between packages, and before a command has parsed its arguments."""

import graphlib
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import grimp
import pytest

PACKAGES = ("srl_data", "srl_eval", "srl_grpo", "srl_reward")
HEAVY = ("torch", "transformers", "datasets", "deepspeed", "lm_eval", "vllm", "pandas")

HELP = [
    ["srl-data", "--help"],
    ["srl-data", "build", "s1k", "--help"],
    ["srl-data", "synth", "arithmetic", "--help"],
    ["srl-data", "inspect", "--help"],
    ["srl-data", "grade", "--help"],
    ["srl-data", "stepify", "--help"],
    ["srl-eval", "--help"],
    ["srl-eval", "aime24", "--help"],
    ["srl-grpo", "--help"],
    ["srl-grpo", "train", "--help"],
    ["srl-grpo", "report", "--help"],
    ["srl-grpo", "train", "--config", "quickstart", "--dry-run"],
]


def modules_after(code: str, arguments: Sequence[str] = ()) -> set[str]:
    """Top-level modules loaded in a fresh interpreter once `code` has run."""
    program = f"""
import atexit, sys
atexit.register(lambda: print("\\n".join(["", "@@", *sys.modules])))
{code}
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stdout.rpartition("@@")[2].split()}


def test_import_linter_finds_the_layers_kept(root: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def modules_of(package: str) -> set[str]:
    """What is loaded once every module of a package is, but for those over optional engines."""
    return modules_after(f"""
import importlib, pkgutil, {package}
for module in pkgutil.walk_packages({package}.__path__, "{package}."):
    if not module.name.endswith(("__main__", ".vllm", ".verl", ".trl")):
        importlib.import_module(module.name)
""")


@pytest.mark.parametrize("package", ["srl_reward", "srl_data"])
def test_rewards_and_data_never_load_torch(package: str) -> None:
    assert "torch" not in modules_of(package)


def test_evaluation_never_loads_deepspeed() -> None:
    loaded = modules_of("srl_eval")
    assert "torch" in loaded
    assert "deepspeed" not in loaded


@pytest.mark.parametrize("command", HELP, ids=" ".join)
def test_a_command_parses_before_it_loads_anything_heavy(command: Sequence[str]) -> None:
    module = command[0].replace("-", "_")
    start = f"""
import sys
import tomllib
sys.argv[0] = {command[0]!r}
from {module}.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""
    assert modules_after(start, command[1:]) & set(HEAVY) == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_stated_once(package: str) -> None:
    module = import_module(package)
    names = module.__all__
    assert sorted(set(names)) == sorted(names)
    assert [name for name in names if not hasattr(module, name)] == []
    assert module.__doc__


# A sealed package imports nothing of the package around it: contract's source to its whole.
SEALED = {"srl_eval.generate": "srl_eval", "srl_grpo.objective": "srl_grpo"}


def import_graph(package: str) -> grimp.ImportGraph:
    """Every import of a package's modules, those for types alone included."""
    return grimp.build_graph(package, cache_dir=None)


@pytest.mark.parametrize("sealed", sorted(SEALED))
def test_the_contract_of_a_sealed_package_lists_every_module_around_it(
    root: Path, sealed: str
) -> None:
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]
    (forbidden,) = [
        contract["forbidden_modules"]
        for contract in contracts["contracts"]
        if contract.get("source_modules") == [sealed]
    ]
    around = import_graph(SEALED[sealed]).find_children(SEALED[sealed]) - {sealed}
    assert forbidden == sorted(around)


@pytest.mark.parametrize("sealed", sorted(SEALED))
def test_a_sealed_package_imports_nothing_of_the_one_around_it(sealed: str) -> None:
    graph = import_graph(SEALED[sealed])
    inside = {sealed, *graph.find_descendants(sealed)}
    imported = {
        name for module in inside for name in graph.find_modules_directly_imported_by(module)
    }
    assert {name for name in imported - inside if name.startswith(SEALED[sealed])} == set()


def test_generation_loads_nothing_of_the_evaluation_around_it() -> None:
    code = """
import importlib, pkgutil, sys, srl_eval.generate
for module in pkgutil.walk_packages(srl_eval.generate.__path__, "srl_eval.generate."):
    importlib.import_module(module.name)
print([name for name in sys.modules if name.startswith("srl_eval.")
       and not name.startswith("srl_eval.generate")])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"


def without_native(graph: grimp.ImportGraph) -> dict[str, set[str]]:
    """Who imports whom, but for `from srl_reward import _native`: compiled, and no cycle."""
    arrows: dict[str, set[str]] = {}
    for module in graph.modules:
        arrows[module] = {
            other
            for other in graph.find_modules_directly_imported_by(module)
            if any(
                "_native" not in detail["line_contents"]
                for detail in graph.get_import_details(importer=module, imported=other)
            )
        }
    return arrows


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    arrows = without_native(import_graph(package))
    assert sum(map(len, arrows.values())) > len(arrows) // 2
    graphlib.TopologicalSorter(arrows).prepare()  # CycleError names the modules of a circle


def test_a_circle_of_modules_is_found() -> None:
    graph = grimp.ImportGraph()
    graph.add_import(importer="a.b", imported="a.c", line_number=1, line_contents="import a.c")
    graph.add_import(importer="a.c", imported="a.b", line_number=1, line_contents="import a.b")
    with pytest.raises(graphlib.CycleError, match=r"a\.b"):
        graphlib.TopologicalSorter(without_native(graph)).prepare()
