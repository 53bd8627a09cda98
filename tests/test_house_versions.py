"""Each package has its version; they ask for each other by ranges. Needs pytest alone."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement  # pytest brings it

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("srl-data", "srl-eval", "srl-grpo", "srl-reward")


def read_toml(path: str) -> dict[str, dict[str, object]]:
    return tomllib.loads((ROOT / path).read_text(encoding="utf-8"))


def project(name: str) -> dict[str, object]:
    return read_toml(f"packages/{name}/pyproject.toml")["project"]


def test_the_crates_have_the_version_of_the_package_that_is_built_from_them() -> None:
    crates = read_toml("rust/Cargo.toml")["workspace"]
    assert isinstance(crates, dict)
    assert crates["package"]["version"] == project("srl-reward")["version"]


@pytest.mark.parametrize("crate", ["srl-core", "srl-reward-py"])
def test_crates_take_their_version_from_the_workspace(crate: str) -> None:
    manifest = read_toml(f"rust/{crate}/Cargo.toml")
    assert manifest["package"]["version"] == {"workspace": True}


def test_crates_ask_for_each_other_in_this_version() -> None:
    ours = read_toml("rust/srl-reward-py/Cargo.toml")["dependencies"]["srl-core"]
    assert isinstance(ours, dict)
    assert ours["version"] == project("srl-reward")["version"]


def internal_requirements(name: str) -> list[Requirement]:
    """What a package asks of the others, extras included."""
    found = project(name)
    extras = found.get("optional-dependencies", {})
    assert isinstance(extras, dict)
    texts = [*found.get("dependencies", []), *(r for rs in extras.values() for r in rs)]
    return [Requirement(text) for text in texts if text.startswith("srl-")]


def compatible_range(version: str) -> str:
    """The range that asks for a version and what is compatible: `>=0.1,<0.2` for 0.1.3."""
    major, minor, *_ = (int(part) for part in version.split("."))
    return f"<{major + 1},>={major}.{minor}" if major else f"<0.{minor + 1},>=0.{minor}"


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_ask_for_each_other_by_the_compatible_range_of_the_workspace(name: str) -> None:
    asked = {r.name: str(r.specifier) for r in internal_requirements(name)}
    assert asked == {other: compatible_range(str(project(other)["version"])) for other in asked}
    assert all(str(project(r.name)["version"]) in r.specifier for r in internal_requirements(name))


def test_a_package_asks_for_every_package_that_it_imports() -> None:
    for name in PACKAGES:
        source = ROOT / "packages" / name / "src"
        text = "\n".join(path.read_text("utf-8") for path in source.rglob("*.py"))
        imported = set(re.findall(r"^\s*(?:from|import) (srl_[a-z]+)", text, re.MULTILINE))
        asked = {r.name.replace("-", "_") for r in internal_requirements(name)}
        assert imported - {name.replace("-", "_")} == asked


def test_compatible_ranges_follow_semantic_versioning() -> None:
    assert [compatible_range(v) for v in ("0.1.0", "0.12.3", "1.2.3")] == [
        "<0.2,>=0.1",
        "<0.13,>=0.12",
        "<2,>=1.2",
    ]


@pytest.mark.parametrize("name", PACKAGES)
def test_the_changelog_has_a_section_for_each_packages_version(name: str) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (srl-[a-z]+) (\S+) - ", changelog, re.MULTILINE)
    newest = next(version for package, version in headings if package == name)
    assert newest == project(name)["version"]


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
