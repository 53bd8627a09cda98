"""Versions move in lockstep. Needs nothing but the standard library and pytest."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("srl-data", "srl-eval", "srl-grpo", "srl-reward")


def read_toml(path: str) -> dict[str, dict[str, object]]:
    return tomllib.loads((ROOT / path).read_text(encoding="utf-8"))


def project(name: str) -> dict[str, object]:
    return read_toml(f"packages/{name}/pyproject.toml")["project"]


def test_the_root_the_packages_and_the_crates_have_one_version() -> None:
    versions = {name: project(name)["version"] for name in PACKAGES}
    versions["root"] = read_toml("pyproject.toml")["project"]["version"]
    crates = read_toml("rust/Cargo.toml")["workspace"]
    assert isinstance(crates, dict)
    versions["crates"] = crates["package"]["version"]
    assert len(set(versions.values())) == 1, versions


@pytest.mark.parametrize("crate", ["srl-core", "srl-reward-py"])
def test_crates_take_their_version_from_the_workspace(crate: str) -> None:
    manifest = read_toml(f"rust/{crate}/Cargo.toml")
    assert manifest["package"]["version"] == {"workspace": True}


def test_crates_ask_for_each_other_in_this_version() -> None:
    ours = read_toml("rust/srl-reward-py/Cargo.toml")["dependencies"]["srl-core"]
    assert isinstance(ours, dict)
    assert ours["version"] == project("srl-reward")["version"]


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_pin_each_other_exactly(name: str) -> None:
    found = project(name)
    extras = found.get("optional-dependencies", {})
    assert isinstance(extras, dict)
    requirements = [*found.get("dependencies", []), *(r for rs in extras.values() for r in rs)]
    internal = [item for item in requirements if item.startswith("srl-")]
    pin = re.compile(rf"srl-[a-z]+(\[[a-z,]+\])?=={re.escape(str(found['version']))}")
    assert [item for item in internal if not pin.fullmatch(item)] == []


def test_the_changelog_has_an_entry_for_this_version() -> None:
    version = project("srl-grpo")["version"]
    headings = re.findall(
        r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    assert version in headings


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_have_what_a_distribution_needs(name: str) -> None:
    folder = ROOT / "packages" / name
    module = name.replace("-", "_")
    assert (folder / "src" / module / "py.typed").is_file()
    assert (folder / "README.md").is_file()
    assert (
        project(name)["requires-python"]
        == read_toml("pyproject.toml")["project"]["requires-python"]
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_licences_are_the_same_text(name: str) -> None:
    text = (ROOT / "LICENSE").read_bytes()
    assert (ROOT / "packages" / name / "LICENSE").read_bytes() == text
    assert project(name)["license"] == "Apache-2.0"
