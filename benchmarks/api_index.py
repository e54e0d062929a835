"""The public names of tfhash with the first sentence of their docstrings, read without importing."""

import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]

# In the order of the imports, from the ground up.
MODULES = (
    "tfhash_ops", "tfhash", "tfhash.codes", "tfhash.labels", "tfhash.files", "tfhash.errors", "tfhash.losses",
    "tfhash.data", "tfhash.index", "tfhash.index.duplicates", "tfhash.index.engines",
    "tfhash.index.shards", "tfhash.serving", "tfhash.layers", "tfhash.metrics", "tfhash.optimizers", "tfhash.models",
    "tfhash.encoding", "tfhash.callbacks", "tfhash.export", "tfhash.plots", "tfhash.experiments", "tfhash.beam",
)  # fmt: skip

# Files whose functions have the names of others, beside which they are not listed.
ALIKE = ("jax", "reference")

# Names that a module imports on first use, which its source does not define.
LAZY = {"tfhash": ("tfhash/encoding.py", ["encode"])}


def public_definitions(module):
    """Pairs of a public name and its class or function, a node of `ast`; without constants."""
    path = ROOT / module.replace(".", "/")
    if module in LAZY:
        file, names = LAZY[module]
        nodes = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
        functions = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}
        return [(name, functions[name]) for name in names]
    folder = path if path.is_dir() else path.parent
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    trees = {p.stem: ast.parse(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.py"))}
    stems = [stem for stem in trees if stem not in ALIKE] if path.is_dir() else [source.stem]
    definitions = {
        node.name: node
        for stem in stems
        for node in trees[stem].body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    }
    names = exported(trees[source.stem])
    if names is None:
        names = [name for name in definitions if not name.startswith("_")]
    return [(name, definitions[name]) for name in names if name in definitions]


def public_names(module):
    """Pairs of a public name and the first sentence of its docstring; constants have none."""
    found = [(name, ast.get_docstring(node)) for name, node in public_definitions(module)]
    return [(name, _first_sentence(docstring)) for name, docstring in found if docstring]


def exported(tree):
    """The names in `__all__`, or in the dictionary from which it is made; `None` without one."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.List, ast.Dict)):
            if node.targets[0].id == "__all__":
                return [element.value for element in node.value.elts]
            if node.targets[0].id == "_MODULE_OF":
                return [key.value for key in node.value.keys]
    return None


def _first_sentence(docstring):
    text = " ".join(docstring.split("\n\n")[0].split())
    return re.split(r"(?<=\w)[.:] (?=[A-Z`])", text)[0].rstrip(".:") + "."
