"""Docstrings of all public names: a summary, every argument, what is raised, and an example."""

import ast
import itertools
import re

import api_index

# Methods that Keras or a base class calls, whose arguments are described there.
OF_FRAMEWORK = {
    "build", "call", "compute_output_shape", "expand", "from_config", "get_config", "num_batches", "on_epoch_begin",
    "on_epoch_end", "on_train_batch_end", "on_train_begin", "on_train_end", "predict_step", "update_step",
    "values",
}  # fmt: skip
# Its fields are settings, each with its own help.
OF_SETTINGS = {"tfhash.experiments.Recipe"}

PUBLIC = {
    f"{module}.{name}": node
    for module in api_index.MODULES
    for name, node in api_index.public_definitions(module)
}


def docstring_of(node):
    return ast.get_docstring(node) or ""


def functions(node):
    return [child for child in node.body if isinstance(child, ast.FunctionDef)]


def function_of(node):
    """The function whose arguments a call takes; `None` for a class without `__init__`."""
    if isinstance(node, ast.FunctionDef):
        return node
    return next((f for f in functions(node) if f.name == "__init__"), None)


def arguments_of(node):
    """Names of the arguments, or of the fields of a class without `__init__`."""
    function = function_of(node)
    if function is None:
        fields = [child for child in node.body if isinstance(child, ast.AnnAssign)]
        return {field.target.id for field in fields if not field.target.id.startswith("_")}
    given = function.args
    named = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
    return {argument.arg for argument in named if argument} - {"self", "cls"}


def described(docstring, *sections):
    """The names that some sections describe."""
    parts = re.split(r"^(\w[\w ]*):\n(?= {4}\S)", docstring, flags=re.MULTILINE)
    names = []
    for title, content in zip(parts[1::2], parts[2::2]):
        if title in sections:
            names += re.findall(r"^ {4}([*\w][\w*, ]*):", content, re.MULTILINE)
    return {name.strip("* ") for listed in names for name in listed.split(",")}


def has_example(docstring):
    return ">>> " in docstring or re.search(r"^Example:", docstring, re.MULTILINE) is not None


def targets(docstring):
    """The public names to which a docstring refers for an example."""
    referred = re.findall(r"[Ss]ee `([\w.]+)`|`([\w.]+)` returns ", docstring)
    for target in map("".join, referred):
        for name, node in PUBLIC.items():
            short = name.rpartition(".")[2]
            if target in (name, short) or target.startswith(f"{short}."):
                yield node


def methods():
    for name, node in PUBLIC.items():
        for method in functions(node) if isinstance(node, ast.ClassDef) else ():
            if not method.name.startswith("_") and method.name not in OF_FRAMEWORK:
                yield f"{name}.{method.name}", method


def test_summaries_are_sentences():
    summaries = {name: docstring_of(node).split("\n\n")[0] for name, node in PUBLIC.items()}
    assert [name for name, summary in summaries.items() if not summary.endswith((".", ":"))] == []


def test_every_argument_and_field_is_described():
    missing = {}
    for name in PUBLIC.keys() - OF_SETTINGS:
        known = described(docstring_of(PUBLIC[name]), "Args", "Attributes")
        missing[name] = arguments_of(PUBLIC[name]) - known
    assert {name: arguments for name, arguments in missing.items() if arguments} == {}


def test_no_argument_is_described_that_does_not_exist():
    extra = {
        name: described(docstring_of(node), "Args") - arguments_of(node)
        for name, node in [*PUBLIC.items(), *methods()]
    }
    assert {name: arguments for name, arguments in extra.items() if arguments} == {}


def test_what_is_raised_is_listed():
    def raises(node):
        return any(isinstance(child, ast.Raise) for child in ast.walk(node))

    raising = {name: function_of(node) for name, node in PUBLIC.items()}
    raising = [name for name, function in raising.items() if function and raises(function)]
    assert len(raising) > 20
    assert [name for name in raising if "\nRaises:\n" not in docstring_of(PUBLIC[name])] == []


def test_there_is_an_example_or_the_name_of_something_that_has_one():
    without = [name for name, node in PUBLIC.items() if not has_example(docstring_of(node))]
    for name in without:
        found = [has_example(docstring_of(node)) for node in targets(docstring_of(PUBLIC[name]))]
        assert any(found), name


def test_public_constants_have_a_docstring_too():
    constants, documented = set(), set()
    for module in api_index.MODULES:
        folder = api_index.ROOT / module.replace(".", "/")
        if not folder.is_dir() or module in api_index.LAZY:
            continue
        tree = ast.parse((folder / "__init__.py").read_text("utf-8"))
        constants |= {n for n in api_index.exported(tree) if n.isupper()}
        for path in folder.glob("*.py"):
            body = ast.parse(path.read_text("utf-8")).body
            for assigned, after in itertools.pairwise(body):
                if isinstance(assigned, ast.Assign) and isinstance(after, ast.Expr):
                    documented.add(ast.unparse(assigned.targets[0]))
    assert constants >= {"PROTOCOLS", "STAGES", "TIES"}
    assert constants - documented == set()


def test_methods_have_a_summary_and_say_what_several_arguments_are():
    for name, method in methods():
        arguments = arguments_of(method)
        assert docstring_of(method), name
        if len(arguments) > 1:
            assert arguments <= described(docstring_of(method), "Args"), name


def test_losses_and_optimizers_say_where_their_formulas_are_from():
    formulas = [
        name for name in PUBLIC if name.startswith(("tfhash.losses.", "tfhash.optimizers."))
    ]
    docstrings = {name: docstring_of(PUBLIC[name]) for name in formulas}
    without = [name for name in formulas if "Reference:" not in docstrings[name]]
    assert without == ["tfhash.optimizers.ContinuedSchedule"]  # has no formula
