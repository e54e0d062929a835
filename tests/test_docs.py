"""The documentation: the site builds, links lead somewhere, docstrings are complete."""

import ast
import functools
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("benchmarks/*.md"))]
DOCUMENTS += sorted(ROOT.glob("docs/*.md"))


@functools.cache
def text_of(path):
    return path.read_text(encoding="utf-8")


def without_code(text):
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)


@functools.cache
def anchors(path):
    """The anchors of the headings of a document, as code hosts make them."""
    prose = re.sub(r"^```.*?^```", "", text_of(path), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_lead_to_files_and_headings(path):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(path))):
        file, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = (path.parent / file).resolve() if file else path
        exists = target.exists() and target.is_relative_to(ROOT)
        if not exists or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_a_link_checker_sees_what_is_broken(tmp_path):
    document = tmp_path / "a.md"
    document.write_text("# What's `x`, now?\n\n```\n# no heading\n```\n")
    assert anchors(document) == {"whats-x-now"}
    assert without_code("[a](b.md) `[c](d.md)`") == "[a](b.md) "


def test_the_site_builds_strictly(tmp_path):
    pytest.importorskip("mkdocs", reason="needs the extra docs: pip install '.[docs]'")
    pytest.importorskip("mkdocstrings", reason="needs the extra docs: pip install '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", f"--site-dir={tmp_path}"]
    built = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    losses = (tmp_path / "api" / "tfhash.losses" / "index.html").read_text("utf-8")
    assert 'id="tfhash.losses.CSQLoss"' in losses
    assert "Call arguments:" in losses
    # Nothing is loaded from elsewhere but the library that draws diagrams, where there is one.
    for page in tmp_path.rglob("*.html"):
        assert not re.findall(
            r'<(?:script|link|img)[^>]+(?:src|href)="https?:', page.read_text("utf-8")
        )


def messages():
    """The strings of the source that are no docstrings; `…` stands for a value."""
    for package in ("tfhash", "tfhash_ops"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(text_of(path))
            docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(
                        v.value if isinstance(v, ast.Constant) else "…" for v in node.values
                    )
                elif id(node) not in docstrings and isinstance(node, ast.Constant):
                    yield str(node.value)


QUOTED = re.findall(r"^### `(.*)`$", text_of(ROOT / "docs" / "troubleshooting.md"), re.MULTILINE)


def test_every_message_of_troubleshooting_is_one_of_the_source():
    assert len(QUOTED) > 30
    known = list(messages())
    for quoted in QUOTED:
        parts = [re.escape(part.strip()) for part in quoted.split("...")]
        pattern = re.compile(".*?".join(parts), re.DOTALL)
        assert any(pattern.search(message) for message in known), quoted
    assert len(set(QUOTED)) == len(QUOTED)
