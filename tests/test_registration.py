"""Loading models after `import tfhash` alone."""

import importlib
import subprocess
import sys

import keras
import pytest

import tfhash
from tfhash import _registration


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_every_registered_class_has_a_stand_in():
    for module in ("layers", "losses", "models", "optimizers"):
        importlib.import_module(f"tfhash.{module}")
    registered = {
        name.split(">")[1]
        for name, cls in keras.saving.get_custom_objects().items()
        if name.startswith("tfhash>") and getattr(cls, "__module__", "").startswith("tfhash.")
    }
    assert registered == set(_registration.MODULE_OF)
    for name, module in _registration.MODULE_OF.items():
        assert hasattr(getattr(tfhash, module), name)


@pytest.mark.parametrize("imports", ["import keras, tfhash", "import tfhash, keras"])
def test_import_tfhash_is_enough_to_load_a_model(make_model, tmp_path, imports):
    make_model().save(tmp_path / "model.keras")
    result = run(f"{imports}\nkeras.saving.load_model({str(tmp_path / 'model.keras')!r})")
    assert result.returncode == 0, result.stderr


def test_loading_without_tfhash_says_to_import_it(make_model, tmp_path):
    make_model().save(tmp_path / "model.keras")
    result = run(f"import keras\nkeras.saving.load_model({str(tmp_path / 'model.keras')!r})")
    assert "import tfhash" in result.stderr.splitlines()[-1]


def test_import_tfhash_imports_neither_keras_nor_tensorflow():
    result = run(
        "import sys, tfhash\nassert not {'keras', 'tensorflow', 'numpy'} & set(sys.modules)\n"
        "assert 'models' in dir(tfhash) and 'encode' in dir(tfhash)"
    )
    assert result.returncode == 0, result.stderr
