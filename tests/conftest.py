import gc
import math
import os
import pathlib
import re
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest

from tfhash.models import HashingModel, build_backbone

# Tracing makes millions of objects that live on; looking for cycles among them takes 5 % of the time.
# So cycles are collected after each test alone: models of many tests at once take a minute to free.
gc.set_threshold(1_000_000)

SHARED_DATASETS = pathlib.Path(__file__).parents[2] / "shared" / "datasets"


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown():
    gc.collect(1)


@pytest.fixture(autouse=True, scope="session")
def _pictures_of_few_images():
    """Trainings draw two queries with three neighbors each, not 110 images, which take 2.5 s."""
    if keras.backend.backend() == "tensorflow":
        from tfhash.experiments import pictures

        pictures.QUERIES_SHOWN, pictures.NEIGHBORS_SHOWN = 2, 3


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture
def press_ctrl_c():
    """Function that sends SIGINT, also where who started the tests ignores it, as a shell's `&` does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def gradient():
    """Gradient of a scalar function of one array, on the current backend."""
    if keras.backend.backend() == "jax":
        import jax

        return lambda function, point: np.asarray(jax.grad(function)(point))
    if keras.backend.backend() == "torch":
        import torch

        def by_autograd(function, point):
            point = torch.tensor(point, requires_grad=True)
            return torch.autograd.grad(function(point), point)[0].numpy()

        return by_autograd
    import tensorflow as tf

    def by_tape(function, point):
        point = tf.convert_to_tensor(point)
        with tf.GradientTape() as tape:
            tape.watch(point)
            value = function(point)
        return tape.gradient(value, point).numpy()

    return by_tape


@pytest.fixture
def largest_tensor():
    """Elements of the largest tensor in the text of HLO."""

    def of_text(hlo):
        shapes = re.findall(r"\w\[([\d,]+)\]", hlo)
        return max(math.prod(map(int, shape.split(","))) for shape in shapes)

    return of_text


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """Engines of an index, whose servers start when a test asks for them."""
    from engine_cases import Places

    places = Places(tmp_path_factory.mktemp("engines"))
    yield places
    places.stop()


@pytest.fixture(scope="session")
def shared_datasets():
    if not (SHARED_DATASETS / "mnist").is_dir():
        pytest.skip(f"no prepared datasets at {SHARED_DATASETS}")
    return SHARED_DATASETS


@pytest.fixture(scope="session")
def undivided_dataset(tmp_path_factory):
    """A dataset prepared by tensorflow-datasets that has one split and images of many sizes."""
    import tensorflow_datasets as tfds

    class UndividedPhotos(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=["ant", "bee", "cat", "dog"]),
            }
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            rng = np.random.default_rng(0)
            for i in range(90):
                image = rng.integers(0, 256, (8 + i % 3, 9 + i % 5, 3), "uint8")
                yield i, {"image": image, "label": i % 4}

    data_dir = tmp_path_factory.mktemp("datasets")
    UndividedPhotos(data_dir=data_dir).download_and_prepare()
    return "undivided_photos", data_dir


@pytest.fixture(scope="session")
def striped():
    """64 noisy 8x8 images of two classes, one with rows and one with columns of stripes."""
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    rows = np.tile(np.array([0, 200])[np.arange(8) % 2][:, None], (1, 8))
    images = np.where(labels[:, None, None] == 0, rows, rows.T) + rng.integers(0, 50, (64, 8, 8))
    return images[..., None].astype("uint8"), labels


@pytest.fixture(scope="session")
def make_model():
    def make(bits=12, num_classes=2, backbone="mlp", image_shape=(8, 8, 1), seed=0, **compile_with):
        keras.utils.set_random_seed(seed)
        model = HashingModel(build_backbone(backbone, image_shape, width=4), bits, num_classes)
        model.build((None, *image_shape))
        model.compile(**{"optimizer": keras.optimizers.Adam(1e-2), **compile_with})
        return model

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run of `tfhash train` on the digits, and what the command printed. Not to be changed."""
    import contextlib
    import io

    from commands import QUICK, SHORT

    from tfhash.cli import main

    directory = tmp_path_factory.mktemp("runs") / "digits"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["train", *QUICK, *SHORT, f"--output_dir={directory}"]) == 0
    return directory, printed.getvalue()


@pytest.fixture
def without_pictures(monkeypatch):
    """They take a third of the time of a small training."""
    monkeypatch.setattr("tfhash.experiments.pictures.draw", lambda *_: None)


@pytest.fixture
def run_directory(trained):
    return trained[0]


@pytest.fixture(scope="module")
def models_are_loaded_once():
    """Commands load a model file once, which takes most of their time on a few images."""
    from tfhash.experiments import RunDirectory

    load, loaded = RunDirectory.load_model, {}

    def load_once(self):
        if not self.model_path.is_file():
            return load(self)
        key = self.model_path, self.model_path.stat().st_mtime_ns
        if key not in loaded:
            loaded[key] = load(self)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(RunDirectory, "load_model", load_once)
        yield


@pytest.fixture
def make_folder(tmp_path):
    """Writes a folder of dark and light images, 12 of each class by default."""
    from PIL import Image

    def make(name="photos", classes=("dark", "light"), items=12, size=(8, 8)):
        rng = np.random.default_rng(0)
        for i, value in enumerate(np.linspace(40, 200, len(classes)).astype(int)):
            folder = tmp_path / name / classes[i]
            folder.mkdir(parents=True)
            for item in range(items):
                pixels = rng.integers(value - 40, value + 40, (*size, 3)).astype("uint8")
                Image.fromarray(pixels).save(folder / f"{item}.png")
        return tmp_path / name

    return make


@pytest.fixture
def photos(make_folder):
    return make_folder()


@pytest.fixture
def index_command(run_directory, photos, tmp_path):
    return [
        "index",
        f"--model={run_directory}",
        f"--images={photos}",
        f"--output={tmp_path / 'photos.index'}",
    ]
