"""Codes from any Keras model, and errors for images that do not fit it."""

import keras
import numpy as np
import pytest

import tfhash
from tfhash import codes, metrics
from tfhash.callbacks import RetrievalEvaluation
from tfhash.encoding import encode, encode_with_labels
from tfhash.layers import HashingLayer
from tfhash.losses import ExponentiatedHashingLoss


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    return (rng.normal(size=(60, 7)) + 3 * np.eye(3, 7)[labels]).astype("float32"), labels


@pytest.fixture(scope="module")
def sequential():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((7,)), HashingLayer(bits=12, name="head")])


@pytest.fixture(scope="module")
def two_outputs():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((7,))
    head = HashingLayer(bits=12, name="head")(inputs)
    scores = keras.layers.Dense(3, name="scores")(inputs)
    return keras.Model(inputs, {"head": head, "scores": scores})


def test_a_sequential_is_encoded_by_the_signs_of_its_output(sequential, features):
    expected = codes.pack(sequential.predict(features[0], verbose=0))
    np.testing.assert_array_equal(tfhash.encode(sequential, features[0]), expected)


def test_the_output_is_named_where_there_are_several(two_outputs, features):
    expected = codes.pack(two_outputs.predict(features[0], verbose=0)["head"])
    np.testing.assert_array_equal(encode(two_outputs, features[0], output="head"), expected)
    with pytest.raises(ValueError, match="`output` must name .*one of head, scores. .*output=None"):
        encode(two_outputs, features[0])
    with pytest.raises(ValueError, match="relaxed codes lie in .-1, 1.*values up to"):
        encode(two_outputs, 100 * features[0], output="scores")


@pytest.mark.parametrize("model", ["sequential", "hashing"])
def test_an_output_that_the_model_lacks_is_refused(sequential, make_model, striped, model):
    if model == "sequential":
        chosen, images, name, other = sequential, np.zeros((2, 7)), "head", "scores"
    else:
        chosen, images, name, other = make_model(), striped[0], "codes", "logits"
    np.testing.assert_array_equal(encode(chosen, images, output=name), encode(chosen, images))
    with pytest.raises(ValueError, match=f"one of {name}. Received: output='{other}'"):
        encode(chosen, images, output=other)


def test_an_output_that_is_no_code_is_named():
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3, name="maps")])
    with pytest.raises(ValueError, match=r"float32 \[2, 6, 6, 3\], the output 'maps'"):
        encode(model, np.zeros((2, 8, 8, 1)))


def test_a_list_of_images_is_an_array_of_images(make_model, striped):
    model = make_model()
    found = encode(model, list(striped[0]), batch_size=4)
    np.testing.assert_array_equal(found, encode(model, striped[0]))


def test_an_empty_dataset_is_refused(make_model, striped):
    tf = pytest.importorskip("tensorflow")
    empty = tf.data.Dataset.from_tensor_slices(striped[0]).batch(8).take(0)
    with pytest.raises(ValueError, match="at least one batch. Received: an empty dataset"):
        make_model().encode(empty)


@pytest.mark.parametrize("with_labels", [False, True])
def test_a_dataset_of_images_scaled_to_one_is_warned_about(make_model, striped, with_labels):
    tf = pytest.importorskip("tensorflow")
    scaled = (striped[0] / 255).astype("float32")
    data = (scaled, striped[1]) if with_labels else scaled
    with pytest.warns(UserWarning, match="from 0 to 255. Received: float32 images"):
        make_model().encode(tf.data.Dataset.from_tensor_slices(data).batch(8))


@pytest.mark.filterwarnings("error:expected pixel values")
def test_a_generator_is_read_once(make_model, striped):
    model, images = make_model(), striped[0]
    found = model.encode((images[i : i + 16],) for i in range(0, 64, 16))
    np.testing.assert_array_equal(found, model.encode(images))


def test_an_empty_array_has_no_codes(sequential, make_model):
    assert encode(sequential, np.zeros((0, 7))).shape == (0, 2)
    assert make_model(bits=9).encode(np.zeros((0, 8, 8, 1), "uint8")).shape == (0, 2)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((8, 8, 1), r"shape \[n, 8, 8, 1\].*\[8, 8, 1\]. For one image pass image\[None\]"),
        ((8, 8), r"\[8, 8\]. For one image pass image\[None\]"),
        ((3, 8, 8, 3), r"uint8 \[3, 8, 8, 3\]. Convert them to 1 channel$"),
        ((3, 9, 8, 1), r"uint8 \[3, 9, 8, 1\]. Resize them to 8 x 8$"),
        ((3, 64), r"uint8 \[3, 64\]. Reshape them$"),
    ],
)
def test_images_that_do_not_fit_are_refused_with_their_shape(make_model, shape, message):
    with pytest.raises(ValueError, match=message):
        make_model().encode(np.zeros(shape, "uint8"))


def test_gray_images_need_no_channel_axis(make_model, striped):
    model = make_model()
    np.testing.assert_array_equal(model.encode(striped[0][..., 0]), model.encode(striped[0]))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_images_scaled_to_one_are_warned_about(make_model, striped, dtype):
    scaled = (striped[0] > 100).astype(dtype)
    with pytest.warns(UserWarning, match=f"from 0 to 255. Received: {dtype} images .* 0 to 1"):
        make_model().encode(scaled)
    with pytest.warns(UserWarning, match="from 0 to 255"):
        make_model().fit(scaled, striped[1], verbose=0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_images_are_not_warned_about(make_model, value):
    make_model().encode(np.full((2, 8, 8, 1), value, "uint8"))


class Shuffled(keras.utils.PyDataset):
    """Batches in another order each time they are read."""

    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels
        self.reads = 0

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index == 0:
            self.reads += 1
        order = np.random.default_rng(self.reads).permutation(len(self.images))
        chosen = order[index * 10 : (index + 1) * 10]
        return self.images[chosen], self.labels[chosen]


def test_codes_and_labels_of_a_shuffled_dataset_match(sequential, features):
    images, labels = features
    packed, found, bits = encode_with_labels(sequential, Shuffled(images, labels))
    assert bits == 12
    pairs = {(tuple(code), label) for code, label in zip(packed.tolist(), found.tolist())}
    expected = encode(sequential, images).tolist()
    assert pairs == {(tuple(code), label) for code, label in zip(expected, labels.tolist())}
    assert len(found) == 60


@pytest.mark.parametrize("shuffled", [False, True])
def test_retrieval_evaluation_of_any_model_that_ends_in_codes(features, shuffled):
    images, labels = features
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((7,)), HashingLayer(bits=12)])
    model.compile("adam", ExponentiatedHashingLoss())
    data = Shuffled(images, labels) if shuffled else (images, labels)
    history = model.fit(
        images, labels, epochs=2, verbose=0, callbacks=[RetrievalEvaluation(data, data)]
    ).history
    packed = encode(model, images)
    histograms = metrics.distance_histograms(packed, packed, labels, labels, 12)
    assert history["val_map"][-1] == pytest.approx(metrics.mean_average_precision(histograms))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((np.zeros((0, 7)), np.zeros(0)), "`queries` must hold at least one item"),
        ((np.zeros((3, 7)), np.zeros(2)), "Received: 3 images and 2 labels"),
        ((np.zeros((3, 7)), np.zeros((3, 5))), "both sides must have integer labels"),
        ((np.zeros((3, 6)), np.zeros(3)), r"shape \[n, 7\]"),
        (iter([]), "Received: a list_iterator"),
    ],
)
def test_retrieval_evaluation_checks_its_data_before_the_first_epoch(features, data, message):
    model = keras.Sequential([keras.Input((7,)), HashingLayer(bits=12)])
    model.compile("adam", ExponentiatedHashingLoss())
    evaluation = RetrievalEvaluation(data, features, first_epoch=5)
    with pytest.raises(ValueError, match=message):
        model.fit(*features, verbose=0, callbacks=[evaluation])
