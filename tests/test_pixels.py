"""Images that do not suit a model raise errors that say what is expected, what was received and what to do."""

import warnings

import keras
import numpy as np
import pytest

import tfhash
from tfhash import pixels
from tfhash.callbacks import RetrievalEvaluation
from tfhash.encoding import encode_with_labels
from tfhash.layers import HashingLayer
from tfhash.models import HashingModel, build_backbone

tf = pytest.importorskip("tensorflow")

LABELS = np.arange(8) % 2


def dataset(shape=(8, 8, 1), dtype="uint8", is_known=True, is_batched=True):
    """Eight labeled images; whether the dataset knows their shape, and is in batches of 4."""
    images = np.full((8, *shape), 100).astype(dtype)
    data = tf.data.Dataset.from_tensor_slices((images, LABELS))
    if not is_known:
        unknown = tf.TensorSpec(None, images.dtype)
        signature = (unknown, tf.TensorSpec((), tf.int64))
        data = tf.data.Dataset.from_generator(
            lambda: zip(images, LABELS), output_signature=signature
        )
    return data.batch(4) if is_batched else data


def two_sizes():
    return dataset(is_known=False, is_batched=False).concatenate(
        dataset((9, 8, 1), is_known=False, is_batched=False)
    )


WANTED = r"^images must be numbers of shape \[n, 8, 8, (1|any)\] for this model. Received: "
WRONG = {
    "size": (lambda: dataset((9, 8, 1)), WANTED + r"uint8 \[\w, 9, 8, 1\]. Resize them to 8 x 8$"),
    "size that only reading tells": (
        lambda: dataset((9, 8, 1), is_known=False),
        WANTED + r"uint8 \[4, 9, 8, 1\]. Resize them to 8 x 8$",
    ),
    "size of a later batch": (
        lambda: two_sizes().batch(4),
        WANTED + r"uint8 \[4, 9, 8, 1\]. Resize them to 8 x 8$",
    ),
    "two sizes in a batch": (
        lambda: two_sizes().batch(16),
        r"^items of a batch must have one shape. Received: shapes \[8,8,1\] and \[9,8,1\]. Resize",
    ),
    "no batches": (
        lambda: dataset(is_batched=False),
        WANTED + r"uint8 \[8, 8, 1\]. Batch the dataset: dataset.batch",
    ),
    "type": (lambda: dataset(dtype="str"), WANTED + r"string \[\w, 8, 8, 1\]. Decode and convert"),
    "dictionaries": (
        lambda: dataset().map(lambda image, label: {"image": image, "label": label}),
        r"batch(es)? .*\(images, labels\). Received: .* dict",
    ),
}


def encode(make_model, data):
    make_model().encode(data)


def encode_labeled(make_model, data):
    encode_with_labels(make_model(), data)


def classify(make_model, data):
    make_model().classify(data)


def encode_with_a_sequential(_, data):
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), HashingLayer(12)]
    tfhash.encode(keras.Sequential(layers), data)


def fit(make_model, data):
    make_model().fit(data, verbose=0)


def fit_before_it_is_built(_, data):
    model = HashingModel(build_backbone("mlp", (8, 8, 1), width=4), 12, 2)
    model.compile()
    model.fit(data, verbose=0)


def evaluate_retrieval(make_model, data):
    evaluation = RetrievalEvaluation(dataset(), data)
    make_model().fit(dataset(), verbose=0, callbacks=[evaluation])


USES = [
    encode,
    encode_labeled,
    classify,
    encode_with_a_sequential,
    fit,
    fit_before_it_is_built,
    evaluate_retrieval,
]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_dataset_that_does_not_suit_the_model_is_refused_in_words(make_model, use, wrong):
    make, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        use(make_model, make())


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8)])
def test_a_dataset_that_does_not_know_its_shape_is_used_all_the_same(make_model, use, shape):
    use(make_model, dataset(shape, is_known=False))


def test_codes_do_not_depend_on_whether_the_shape_is_known(make_model):
    model = make_model()
    np.testing.assert_array_equal(
        model.encode(dataset(is_known=False)), model.encode(dataset(is_known=True))
    )


@pytest.mark.parametrize(
    ("shape", "expected"), [((4, None, None, 1), 4), ((None, None, None, 1), None), (None, None)]
)
def test_a_dataset_keeps_the_size_of_its_batches_as_far_as_it_is_known(shape, expected):
    data = dataset(is_known=True).unbatch().batch(4, drop_remainder=True)
    data = data.map(lambda images, y: (tf.numpy_function(lambda a: a, [images], images.dtype), y))
    if shape is not None:
        data = data.map(lambda images, y: (tf.ensure_shape(images, shape), y))
    found = pixels.checked(data, (8, 8, 1)).element_spec[0].shape
    assert found.as_list() == [expected, 8, 8, 1]


def test_labels_that_are_text_are_refused(make_model):
    data = dataset().map(lambda image, label: (image, tf.strings.as_string(label)))
    with pytest.raises(ValueError, match="labels must be integers .*Received: string labels. Map"):
        make_model().fit(data, verbose=0)


def test_an_rgb_model_wants_the_channels_known_before_it_is_built():
    model = HashingModel(build_backbone("mlp", (8, 8, 3), width=4), 12, 2)
    model.compile()
    with pytest.raises(ValueError, match=r"channels must be known .*model.build\(\(None, height"):
        model.fit(dataset((8, 8, 3), is_known=False), verbose=0)


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        (np.array([0.0, 1.0]), "Multiply images in .0, 1. by 255"),
        (np.array([-1.0, 1.0]), r"\(images \+ 1\) \* 127.5"),
        (np.array([0, 4095], "uint16"), "Divide images of 16 bits by 257"),
    ],
)
def test_values_outside_of_0_to_255_are_warned_about(values, hint):
    with pytest.warns(UserWarning, match=f"from 0 to 255. Received: {values.dtype} .*{hint}"):
        pixels.check_pixel_range(values)


@pytest.mark.parametrize("values", [[0, 255], [0, 0], [0.5, 254.5], []])
def test_values_from_0_to_255_are_not_warned_about(values):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels.check_pixel_range(np.array(values))
