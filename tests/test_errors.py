"""TensorFlow's errors reach people as plain Python errors."""

import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfhash.errors import in_words, translated


def read_and_decode(path):
    return tf.ensure_shape(tf.io.decode_png(tf.io.read_file(path), channels=1), (2, 2, 1))


def pipeline(path):
    return tf.data.Dataset.from_tensors(str(path)).map(read_and_decode, num_parallel_calls=2)


def eagerly(path):
    read_and_decode(str(path))


def in_a_graph(path):
    tf.function(read_and_decode)(str(path))


def in_a_pipeline(path):
    list(pipeline(path).batch(2).prefetch(1))


def in_keras_predict(path):
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
    model.predict(pipeline(path).batch(2), verbose=0)


PLACES = [eagerly, in_a_graph, in_a_pipeline, in_keras_predict]


@pytest.mark.parametrize("place", PLACES)
def test_a_missing_file_is_a_file_not_found_error_that_names_it(place, tmp_path):
    path = tmp_path / "gone, käse.png"
    with pytest.raises(FileNotFoundError) as raised, translated():
        place(path)
    assert str(raised.value) == f"{path}: No such file or directory"


@pytest.mark.parametrize("place", PLACES)
def test_bad_contents_are_a_value_error_with_the_reason_alone(place, tmp_path):
    path = tmp_path / "page.png"
    path.write_bytes(b"<html>404</html>")
    reason = "^Unknown image file format. One of JPEG.*required$"
    with pytest.raises(ValueError, match=reason), translated():
        place(path)


@pytest.mark.parametrize(
    "raised", [FileNotFoundError(2, "No such file", "a.tif"), ValueError("a.tif: no\nimage: x")]
)
def test_a_python_function_of_a_pipeline_raises_its_own_error_again(raised):
    def fail(_):
        raise raised

    images = tf.data.Dataset.range(3).map(lambda i: tf.numpy_function(fail, [i], tf.uint8))
    with pytest.raises(type(raised)) as again, translated():
        list(images)
    assert str(again.value) == " ".join(str(raised).split())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (tf.errors.InvalidArgumentError(None, None, "Invalid crop window."), "Invalid crop window"),
        (ValueError("broken\ndata stream."), "broken data stream"),
        (ValueError("."), "ValueError"),
        (ValueError("a.png"), "a.png"),
    ],
)
def test_a_reason_has_no_period_at_its_end_so_that_a_sentence_can_follow(error, words):
    assert in_words(error) == words


def test_of_several_root_errors_the_first_is_told():
    message = (
        "Graph execution error:\n\nDetected at node a/B defined at (most recent call last):\n"
        '  File "x.py", line 3, in f\n\nDetected at node a/C defined at (most recent call last):\n'
        '  File "x.py", line 4, in f\n\n2 root error(s) found.\n'
        "  (0) INVALID_ARGUMENT:  label 12 is out of range\n\t [[{{node a/B}}]]\n\t [[b/_2]]\n"
        "  (1) INVALID_ARGUMENT:  label 13 is out of range\n\t [[{{node a/C}}]]\n"
        "0 successful operations.\n0 derived errors ignored. [Op:__inference_f_12]"
    )
    error = tf.errors.InvalidArgumentError(None, None, message)
    assert in_words(error) == "label 12 is out of range"


@pytest.mark.parametrize(
    "error", [tf.errors.InternalError(None, None, "a bug"), KeyError("a"), KeyboardInterrupt()]
)
def test_errors_without_a_plain_meaning_pass_unchanged(error):
    with pytest.raises(type(error)) as raised, translated():
        raise error
    assert raised.value is error


def test_the_error_of_tensorflow_is_kept_as_the_cause():
    with pytest.raises(ValueError, match="Matrix size") as raised, translated():
        tf.linalg.matmul(np.ones((2, 3)), np.ones((2, 3)))
    assert isinstance(raised.value.__cause__, tf.errors.OpError)


@pytest.mark.parametrize("error", ["ValueError('plain')", "ValueError()"])
def test_errors_are_worded_without_importing_tensorflow(error):
    script = (
        "import sys; from tfhash.errors import in_words; "
        f"print(in_words({error}), 'tensorflow' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert finished.stdout in ("plain False\n", "ValueError False\n"), finished.stderr


def test_hints_of_the_source_and_the_documentation_name_extras_that_exist():
    root = pathlib.Path(__file__).parents[1]
    extras = re.findall(r"^(\w+) = \[", (root / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    patterns = ("*.md", "docs/*.md", "tests/*.py", "tfhash/**/*.py")
    texts = [path.read_text("utf-8") for pattern in patterns for path in root.glob(pattern)]
    hints = re.findall(r"""how_to_install\(['"](\w+)|'\.\[([\w,]+)\]'""", "\n".join(texts))
    named = {extra for hint in hints for extra in "".join(hint).split(",")}
    assert len(named) > 10
    assert named <= set(extras)
