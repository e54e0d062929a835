"""An extension of griffe, which reads docstrings without importing tfhash.

griffe does not follow names that a package imports on first use, and takes doctests outside of an
indented section for text.
"""

import ast
import re
import textwrap

import griffe

# The modules of packages that import on first use without a `_MODULE_OF`.
LAZY = {
    "tfhash": {"encode": "encoding"},
    "tfhash_ops": dict.fromkeys(
        ("hamming_distance", "hamming_histogram", "hamming_top_k", "hamming_within"), "hamming"
    ),
}

_DOCTEST = re.compile(r"^>>> .*\n(?:(?!\n).+\n?)*", re.MULTILINE)
_EXAMPLE = re.compile(r"^Example:(.*)$", re.MULTILINE)
# Code after `Example:`, which is indented where it is no doctest.
_CODE = re.compile(r"^(Example:.*\n\n)((?:    .*\n?|\n(?=    ))+)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites docstrings for the parser, and lists the names of lazy packages."""

    def on_package(self, *, pkg, **_):
        for module in _modules(pkg):
            _list_lazy_names(module)
            _rewrite(module)
        for module in list(_modules(pkg)):
            _uncover(module)


def as_google_style(docstring):
    """A docstring with its examples in fences, and call arguments as a section that griffe knows."""
    text = docstring.replace("\nCall arguments:\n", "\nOther Parameters: Call arguments:\n")
    text = _CODE.sub(lambda m: f"{m[1]}{_fence('python', textwrap.dedent(m[2]))}", text)
    text = _DOCTEST.sub(lambda m: _fence("pycon", m[0]), text)
    return _EXAMPLE.sub(r"**Example:**\1", text)


def _fence(language, code):
    return f"```{language}\n{code.strip()}\n```\n"


def _modules(module):
    yield module
    for member in module.members.values():
        if not member.is_alias and member.is_module:
            yield from _modules(member)


def _rewrite(obj):
    if obj.docstring:
        obj.docstring.value = as_google_style(obj.docstring.value)
    for member in obj.members.values():
        if not member.is_alias and not member.is_module:
            _rewrite(member)


def _uncover(package):
    """Moves the public names of a module into the package where one of them has the module's name."""
    for name in package.exports or ():
        module = package.members.get(name)
        if module is not None and not module.is_alias and module.is_module:
            for public in {*package.exports} & {*module.members}:
                definition = module.members[public]
                definition.parent = package
                package.set_member(public, definition)


def _list_lazy_names(module):
    module_of = LAZY.get(module.path, {})
    if "_MODULE_OF" in module.members:
        module_of = ast.literal_eval(str(module.members["_MODULE_OF"].value))
        module.exports = list(module_of)
    for name, source in module_of.items():
        target = f"{module.path}.{source}.{name}"
        module.set_member(name, griffe.Alias(name, target, parent=module))
    if module.path == "tfhash":
        module.exports = list(module_of)
