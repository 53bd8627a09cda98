"""Committed files name no machine, no registry and no secret, and links between them hold."""

import re
import subprocess
from pathlib import Path

import pytest

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
MACHINE_PATHS = re.compile(r"/wor[k]/|/far[m]/|/opt/whee[l]s|/roo[t]/|/hom[e]/\w|\.\./share[d]")
REGISTRIES = re.compile(r"pyp[i]\.org|pythonhoste[d]|crate[s]\.io|deb\.debia[n]|registry\.npmj[s]")
LARGEST = 1 << 20


def tracked(root: Path, *patterns: str) -> list[Path]:
    """Files that git tracks, and new ones that it does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout: there is no list of committed files")
    return [root / name for name in done.stdout.splitlines() if (root / name).is_file()]


def text_files(root: Path) -> dict[str, str]:
    """Texts by path, but for lock files, whose business registries are."""
    found = {}
    for path in tracked(root):
        if path.name in ("uv.lock", "Cargo.lock"):
            continue
        try:
            found[path.relative_to(root).as_posix()] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


def hits(texts: dict[str, str], pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_committed_file_names_a_path_of_one_machine(root: Path) -> None:
    texts = text_files(root)
    texts.pop(".ci/run", None)  # it may look for data beside the checkout
    assert hits(texts, MACHINE_PATHS) == []


def test_no_committed_file_names_a_registry_host(root: Path) -> None:
    assert hits(text_files(root), REGISTRIES) == []


def test_no_large_file_is_committed(root: Path) -> None:
    large = [path.name for path in tracked(root) if path.stat().st_size > LARGEST]
    assert large == []


def test_links_between_documents_hold(root: Path) -> None:
    broken = []
    for page in tracked(root, "*.md"):
        for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
            path, _, anchor = target.partition("#")
            if "://" in path or path.startswith("mailto:"):
                continue
            there = (page.parent / path).resolve() if path else page
            if not there.exists() or (anchor and anchor not in anchors(there)):
                broken.append(f"{page.relative_to(root)}: {target}")
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The anchors that headings of a Markdown page have on GitHub."""
    headings = re.findall(
        r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE
    )
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def test_scripts_can_be_executed(root: Path) -> None:
    scripts = tracked(root, "*.sh", ".ci/run")
    assert [path.name for path in scripts if not path.stat().st_mode & 0o100] == []
