"""The notebooks: each runs from top to bottom, and is stored as it ran."""

import json
import re

import pytest

pytest.importorskip("nbclient", reason="needs the extra test: pip install '.[test]'")

import run_notebooks
from jupyter_client import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient.exceptions import CellExecutionError
from nbformat import v4
from PIL import Image

# Those that read prepared datasets.
WITH_DATASETS = ("quickstart", "your_photos", "your_keras_model")

# Of the training in `your_photos`.
SMALL_SETTINGS = {
    "backbone": "convnet",
    "width": 4,
    "image_size": 16,
    "pretrain_epochs": 1,
    "finetune_epochs": 1,
    "flip_tta": False,
    "baselines": "none",
}

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


def is_claimed_elsewhere(cell):
    """Whether a cell is slow, and tests of the library claim what it shows."""
    return "slow" in cell.metadata.get("tags", [])


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


@pytest.fixture(scope="module")
def kernel():
    """One kernel for all notebooks: most of the time of a short run is the import of TensorFlow."""
    manager = AsyncKernelManager(kernel_name="python3")
    run_sync(manager.start_kernel)(env=run_notebooks.environment(TFHASH_NOTEBOOK_SMALL="1"))
    yield manager
    run_sync(manager.shutdown_kernel)(now=True)


def clean(directory):
    """A cell that leaves no names to a notebook, and moves to its directory."""
    return v4.new_code_cell(f"%reset -f\n__import__('os').chdir({str(directory)!r})")


def write_photos_of_a_reader(folder):
    """Few photos of each class, of several formats, one lying on its side, and what editors leave behind."""
    run_notebooks.write_photos(folder, most=11, side=40, classes=("cat", "ship"))
    for path in (folder / "cat").iterdir():
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    first, second = sorted((folder / "ship").iterdir())[:2]
    first.rename(first.with_suffix(".JPG"))
    with Image.open(second) as photo:
        exif = photo.getexif()
        exif[0x0112] = 6  # orientation: turn right
        photo.save(second, exif=exif)
    (folder / "ship" / ".ipynb_checkpoints").mkdir()
    (folder / "ship" / "notes.txt").write_text("no photo", "utf-8")


@each_notebook
def test_a_notebook_runs_without_the_names_of_another(name, kernel, tmp_path, request):
    if name in WITH_DATASETS:
        request.getfixturevalue("shared_datasets")
    # Read anew: the run changes the outputs of its cells.
    cells = [cell for cell in run_notebooks.read(name).cells if not is_claimed_elsewhere(cell)]
    if name == "your_photos":
        write_photos_of_a_reader(tmp_path / "photos")
        place = next(i for i, cell in enumerate(cells) if cell.source.startswith("PHOTOS = "))
        cells[place].source += f"\nPHOTOS, settings = 'photos', {SMALL_SETTINGS}"
    notebook = v4.new_notebook(cells=[clean(tmp_path), *cells])
    run_notebooks.execute(notebook, tmp_path, kernel)
    assert "tfhash is installed" in outputs(notebook)[0].text  # nothing was downloaded
    assert len(pictures(notebook)) >= 2


def test_a_cell_that_fails_fails_the_run(kernel, tmp_path):
    notebook = v4.new_notebook(cells=[v4.new_code_cell("1 / 0")])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run_notebooks.execute(notebook, tmp_path, kernel)


@pytest.mark.parametrize("names", [[], ["quickstart", "your_photos"]])
def test_your_photos_is_not_stored_with_random_weights(names, monkeypatch, capsys):
    monkeypatch.delenv("TFHASH_NOTEBOOK_WEIGHTS", raising=False)
    monkeypatch.setattr(run_notebooks, "execute", lambda *args, **kwargs: pytest.fail("it ran"))
    with pytest.raises(SystemExit):
        run_notebooks.main([*names, "--offline"])
    assert "TFHASH_NOTEBOOK_WEIGHTS" in capsys.readouterr().err


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
