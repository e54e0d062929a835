"""The notebooks: each runs from a clean kernel, and is stored as it ran."""

import json
import re

import pytest

pytest.importorskip("nbclient", reason="needs the extra test: pip install 'tfhash[test]'")

import run_notebooks
from nbclient.exceptions import CellExecutionError
from nbformat import v4

# Those that read prepared datasets.
WITH_DATASETS = ("quickstart", "your_photos", "your_keras_model")

# Folders at the root of a machine, Colab's too.
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.:~/])/(?:content|home|mnt|opt|private|root|tmp|usr|Users|var|work)/"
)

each_notebook = pytest.mark.parametrize("name", run_notebooks.NAMES)


@pytest.fixture(scope="module")
def stored():
    return {name: run_notebooks.read(name) for name in run_notebooks.NAMES}


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def pictures(notebook):
    kinds = ("image/png", "image/jpeg")
    return [
        output for output in outputs(notebook) if any(k in output.get("data", {}) for k in kinds)
    ]


def texts(notebook):
    """What a reader sees as text: sources, printed lines, values."""
    of_outputs = [
        {**output, "data": {k: v for k, v in output.get("data", {}).items() if "image" not in k}}
        for output in outputs(notebook)
    ]
    return [cell.source for cell in notebook.cells] + [json.dumps(output) for output in of_outputs]


@each_notebook
def test_a_notebook_runs_from_a_clean_kernel(name, stored, tmp_path, request):
    variables = {"TFHASH_NOTEBOOK_SMALL": "1", "TFHASH_NOTEBOOK_WEIGHTS": "none"}
    if name in WITH_DATASETS:
        request.getfixturevalue("shared_datasets")
    if name == "your_photos":
        run_notebooks.write_photos(tmp_path / "mine", most=11, side=40, classes=("cat", "ship"))
        variables["TFHASH_NOTEBOOK_PHOTOS"] = "mine"
    notebook = v4.new_notebook(cells=stored[name].cells)
    run_notebooks.execute(notebook, tmp_path, **variables)
    assert "tfhash is installed" in outputs(notebook)[0].text  # nothing was downloaded
    assert len(pictures(notebook)) >= 2


def test_a_cell_that_fails_fails_the_run(tmp_path):
    notebook = v4.new_notebook(cells=[v4.new_code_cell("1 / 0")])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run_notebooks.execute(notebook, tmp_path)


@each_notebook
def test_a_stored_notebook_ran_from_top_to_bottom_as_its_source_is_now(name, stored):
    notebook = stored[name]
    assert notebook.metadata["executed"] == run_notebooks.digest(notebook), "run `make notebooks`"
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_a_changed_source_is_noticed(stored):
    notebook = run_notebooks.read("the_method")
    notebook.cells[-1].source += " "
    assert run_notebooks.digest(notebook) != run_notebooks.digest(stored["the_method"])


@each_notebook
def test_a_stored_notebook_has_pictures_and_no_error(name, stored):
    found = outputs(stored[name])
    assert len(pictures(stored[name])) >= 2
    assert not [output for output in found if output.output_type == "error"]
    assert not [output.text for output in found if output.get("name") == "stderr"]
    assert (run_notebooks.FOLDER / f"{name}.ipynb").stat().st_size < 600_000


@each_notebook
def test_a_stored_notebook_has_no_path_of_a_machine(name, stored):
    assert [text for text in texts(stored[name]) if ABSOLUTE_PATH.search(text)] == []


def test_a_path_of_a_machine_is_seen():
    assert ABSOLUTE_PATH.search('weights="/tmp/a.h5"')
    assert not ABSOLUTE_PATH.search("https://a.org/usr/ docs/tmp/ 1/2 /v1/models/")


@each_notebook
def test_the_badge_and_the_links_lead_to_this_repository(name, stored):
    text = "\n".join(cell.source for cell in stored[name].cells)
    of_notebook = f"colab.research.google.com/github/{run_notebooks.REPOSITORY}/blob/main/notebooks"
    assert f"(https://{of_notebook}/{name}.ipynb)" in stored[name].cells[0].source
    root = run_notebooks.ROOT
    linked = re.findall(rf"github\.com/{run_notebooks.REPOSITORY}/blob/main/([^)#]+)", text)
    linked += [f"notebooks/{link}" for link in re.findall(r"\]\((\w+\.ipynb)\)", text)]
    assert linked
    assert [path for path in linked if not (root / path).is_file()] == []


@each_notebook
def test_the_first_cell_installs_extras_that_exist_and_keeps_tensorflow(name, stored):
    source = code_cells(stored[name])[0].source
    (extras, repository) = re.findall(
        r'"tfhash\[([\w,]+)\] @ git\+https://github.com/(\S+)"', source
    )[0]
    assert repository == run_notebooks.REPOSITORY
    assert (
        "--no-build-isolation" in source
    )  # otherwise the ops are built against another TensorFlow
    project = (run_notebooks.ROOT / "pyproject.toml").read_text("utf-8")
    for extra in extras.split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
