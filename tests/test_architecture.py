"""Which module may import which, and how long a file may be."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# A module imports from lower ranks and from its own.
RANKS = [
    {"tfhash_ops"},
    {
        "applications",
        "codes",
        "labels",
        "files",
        "text",
        "errors",
        "pixels",
        "keras_private",
        "varint",
        "devices",
        "prediction",
    },
    {"losses", "data", "index", "serving", "encoding"},
    {"layers", "metrics", "optimizers"},
    {"models"},
    {"callbacks", "export", "plots"},
    {"experiments"},
    {"beam"},
    {"cli"},
]
RANK_OF = {name: rank for rank, names in enumerate(RANKS) for name in names}
MODULES = sorted(
    path for path in (ROOT / "tfhash").rglob("*.py") if path.parent != ROOT / "tfhash"
) + sorted((ROOT / "tfhash").glob("[!_]*.py"))


def modules_imported_by(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            package, *rest = name.split(".")
            if package == "tfhash_ops" or (package == "tfhash" and rest and rest[0] in RANK_OF):
                yield package if package == "tfhash_ops" else rest[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_down(path):
    module = path.relative_to(ROOT / "tfhash").parts[0].removesuffix(".py")
    assert module in RANK_OF, f"give {module} a rank"
    upwards = {name for name in modules_imported_by(path) if RANK_OF[name] > RANK_OF[module]}
    assert not upwards


def test_no_source_file_is_longer_than_400_lines():
    folders = ("tfhash", "tfhash_ops", "tests", "benchmarks", "tools")
    sources = [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".cc", ".h"}
    ]
    assert len(sources) > 100
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in sources}
    assert {name: count for name, count in lines.items() if count > 400} == {}
