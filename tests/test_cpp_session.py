"""A SavedModel outside Python's wrappers: in C++, in a process without tfhash, in TensorFlow's own tool.

And a thousand photos, which have one code everywhere.
"""

import io
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from grpc_cases import grpc_server
from PIL import Image
from served_files import make_files
from serving_cases import served

from tfhash import data
from tfhash.data.images import decode_and_resize
from tfhash.experiments.serving.app import App
from tfhash.experiments.serving.service import Service
from tfhash.export import export_saved_model
from tfhash.models import HashingModel, build_backbone
from tfhash.serving import Client

SOURCE = pathlib.Path(__file__).parent / "cc" / "serve_saved_model.cc"
SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A SavedModel, paths of image files, and their codes from Keras, a line of hexadecimals each."""
    path = tmp_path_factory.mktemp("served")
    keras.utils.set_random_seed(0)
    model = HashingModel(build_backbone("convnet", SHAPE, 4), 12, 3)
    model.build((None, *SHAPE))
    paths = []
    for number, contents in enumerate(make_files().values()):
        paths.append(str(path / f"{number}.img"))
        pathlib.Path(paths[-1]).write_bytes(contents)
    images = np.stack([decode_and_resize(pathlib.Path(p).read_bytes(), SHAPE) for p in paths])
    (path / "images.pb").write_bytes(tf.make_tensor_proto(images).SerializeToString())
    np.save(path / "images.npy", images)
    encoded = model.encode(images)
    codes = "".join(code.tobytes().hex() + "\n" for code in encoded)
    database = encoded, None, paths
    return export_saved_model(model, path / "model", database=database), paths, codes


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Compiled in 18 s; `run(...)` gives its exit status and what it prints."""
    library = pathlib.Path(tf.sysconfig.get_lib())
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    if not (library / "libtensorflow_cc.so.2").exists():
        pytest.skip("this TensorFlow comes without libtensorflow_cc.so.2")
    binary = tmp_path_factory.mktemp("cc") / "serve"
    command = ["g++", "-O0", "-std=c++17", "-w", *tf.sysconfig.get_compile_flags()]
    command += ["-DEIGEN_MAX_ALIGN_BYTES=64", str(SOURCE), f"-L{library}", f"-Wl,-rpath,{library}"]
    command += ["-Wl,--no-as-needed", "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    subprocess.run([*command, "-o", str(binary)], check=True)

    def run(directory, *arguments):
        done = subprocess.run(
            [str(binary), str(directory), *arguments], capture_output=True, text=True
        )
        return done.returncode, done.stdout

    return run


def test_a_cpp_session_gives_the_codes_of_keras(program, case):
    directory, paths, codes = case
    tensors = str(directory.parents[1] / "images.pb")
    assert program(directory, "encode", tensors) == (0, codes)
    # From eight threads, every other of whose requests is refused.
    assert program(directory, "hammer", "serving_default", "8", *paths) == (0, codes)


def test_a_cpp_session_refuses_wrong_shapes(program, case):
    directory, _, _ = case
    status, printed = program(directory, "shape:encode", "uint8", "1,4,16,1")
    assert (status, printed.split(":")[0]) == (2, "INVALID_ARGUMENT")
    assert program(directory, "shape:encode", "uint8", "0,8,8,3") == (0, "OK [0,2]\n")


def test_threads_of_a_cpp_session_run_every_signature_by_the_warm_up_file(program, case):
    directory, _, _ = case
    # encode, encode_bytes, search, search_bytes and serving_default, of one image and of the most that
    # a batch holds.
    assert program(directory, "warmup", "8") == (0, 8 * "10\n")


LOAD = """
import sys
import tensorflow as tf
directory, tensors, *paths = sys.argv[1:]
signatures = tf.saved_model.load(directory).signatures
files = tf.constant([open(path, "rb").read() for path in paths])
for code in signatures["serving_default"](image_bytes=files)["codes"].numpy():
    print(code.tobytes().hex())
assert not {"tfhash", "tfhash_ops", "keras"} & set(sys.modules)
"""


def test_a_process_without_tfhash_gives_the_codes_of_keras(case, tmp_path):
    directory, paths, codes = case
    arguments = [sys.executable, "-c", LOAD, str(directory), "", *paths]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == codes, done.stderr


def test_the_saved_model_cli_shows_and_runs_the_signatures(case, tmp_path):
    directory, _, codes = case
    tool = pathlib.Path(sys.executable).with_name("saved_model_cli")
    if not tool.exists():
        pytest.skip("no saved_model_cli")
    where = ["--dir", str(directory), "--tag_set", "serve", "--signature_def", "encode"]
    shown = subprocess.run([tool, "show", *where], capture_output=True, text=True, check=True)
    assert "shape: (-1, -1, -1, 3)" in shown.stdout
    assert "shape: (-1, 12)" in shown.stdout
    images = directory.parents[1] / "images.npy"
    command = [tool, "run", *where, "--inputs", f"images={images}", "--outdir", str(tmp_path)]
    subprocess.run(command, capture_output=True, check=True)
    found = np.load(tmp_path / "codes.npy")
    assert "".join(code.tobytes().hex() + "\n" for code in found) == codes


FORMATS = [
    ("JPEG", "RGB", {}),
    ("JPEG", "L", {"quality": 60}),
    ("JPEG", "RGB", {"exif": 1}),
    ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "P", {}),
    ("GIF", "P", {}),
    ("BMP", "RGB", {}),
    ("WEBP", "RGB", {}),
]


def written(image, number):
    """A photo as a file of the format whose turn it is, in a size of its own."""
    rng = np.random.default_rng(number)
    kind, mode, options = FORMATS[number % len(FORMATS)]
    if "exif" in options:
        tags = Image.Exif()
        tags[0x0112] = int(rng.integers(1, 9))
        options = {"exif": tags}
    photo = Image.fromarray(image).resize(tuple(rng.integers(20, 300, 2)), Image.Resampling.BICUBIC)
    photo = photo.quantize(64) if mode == "P" else photo.convert(mode)
    if mode == "RGBA":
        photo.putalpha(photo.convert("L"))
    file = io.BytesIO()
    photo.save(file, kind, **options)
    return file.getvalue(), kind.lower()


def test_a_thousand_photos_have_one_code_everywhere(program, shared_datasets, tmp_path):
    splits = data.load("cifar10", data_dir=shared_datasets)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, image in enumerate(splits.queries.take(1000).images()):
        contents, suffix = written(image, number)
        (folder / f"{number:04}.{suffix}").write_bytes(contents)
    keras.utils.set_random_seed(0)
    model = HashingModel(build_backbone("convnet", (32, 32, 3), 4), 48, 10)
    model.compile("adam")
    some = splits.train.take(1000)
    model.fit(some.images(), some.labels, verbose=0)  # so that codes differ
    images = data.ImageFiles.below(folder)
    codes = model.encode(images.read(images.names, (32, 32, 3)).batches())
    assert len(np.unique(codes, axis=0)) > 500

    paths = [str(folder / name) for name in images.names]
    directory = export_saved_model(model, tmp_path / "served")
    printed = "".join(code.tobytes().hex() + "\n" for code in codes)
    assert program(directory, "serving_default", *paths) == (0, printed)
    files = tf.constant([pathlib.Path(path).read_bytes() for path in paths])
    signature = tf.saved_model.load(str(directory)).signatures["encode_bytes"]
    np.testing.assert_array_equal(signature(image_bytes=files)["codes"], codes)
    with served(App(Service(model, "served"))) as url, Client(url, "served") as client:
        np.testing.assert_array_equal(client.encode(paths), codes)
    with (
        grpc_server(directory, "served") as port,
        Client(f"grpc://127.0.0.1:{port}", "served") as client,
    ):
        np.testing.assert_array_equal(client.encode(paths), codes)
