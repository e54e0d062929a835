"""`HashingLayer` in models that are not a `HashingModel`: trained, evaluated, saved and exported.

Each kind of model under each dtype policy, on 64 items of two classes.
"""

import functools

import keras
import numpy as np
import pytest

from tfhash import metrics
from tfhash.callbacks import RetrievalEvaluation
from tfhash.encoding import encode, encode_with_labels
from tfhash.keras_private import sublayers
from tfhash.layers import HashingLayer
from tfhash.losses import ExponentiatedHashingLoss

BITS = 12
SHAPE = (16, 16, 3)
WITHOUT_XLA = {} if keras.backend.backend() == "jax" else {"jit_compile": False}
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def application(trainable=True):
    """A network of `keras.applications`, without its pre-trained weights."""
    network = keras.applications.MobileNet(
        include_top=False, weights=None, pooling="avg", input_shape=(32, 32, 3), alpha=0.25
    )
    # In place of the statistics of pre-trained weights: without any, features of all images are one.
    for layer in sublayers(network):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(batch_of("application", np.arange(64) % 2), training=True)
    network.trainable = trainable
    images = keras.Input((32, 32, 3))
    return keras.Model(images, HashingLayer(BITS)(network(images, training=False)))


def sequential():
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            HashingLayer(BITS),
        ]
    )


def parts():
    """Layers from an image and a vector to a code."""
    flat = keras.layers.Flatten()
    return flat, keras.layers.Dense(8, "relu"), keras.layers.Dense(4), HashingLayer(BITS)


def two_inputs(as_dictionary=False):
    """An image and a vector to a code, and to something else."""
    image, facts = keras.Input(SHAPE, name="image"), keras.Input((5,), name="facts")
    flat, of_image, of_facts, hashing = parts()
    joined = keras.layers.Concatenate()([of_image(flat(image)), of_facts(facts)])
    inputs = {"image": image, "facts": facts} if as_dictionary else [image, facts]
    return keras.Model(inputs, hashing(joined))


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.flat, self.of_image, _, self.hashing = parts()

    def call(self, images):
        return self.hashing(self.of_image(self.flat(images)))


@keras.saving.register_keras_serializable("tests")
class SubclassedOnTwo(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.flat, self.of_image, self.of_facts, self.hashing = parts()

    def call(self, inputs):
        of_both = self.of_image(self.flat(inputs["image"])), self.of_facts(inputs["facts"])
        return self.hashing(keras.ops.concatenate(of_both, axis=1))


MODELS = {
    "application": application,
    "frozen": functools.partial(application, trainable=False),
    "sequential": sequential,
    "two_inputs": two_inputs,
    "dictionary": functools.partial(two_inputs, as_dictionary=True),
    "subclassed": Subclassed,
    "subclassed_on_two": SubclassedOnTwo,
}
CASES = [
    *((name, "float32") for name in MODELS if name != "frozen"),
    ("frozen", "mixed_bfloat16"),
    ("two_inputs", "mixed_bfloat16"),
    ("sequential", "mixed_float16"),
    ("two_inputs", "mixed_float16"),
    ("subclassed", "mixed_float16"),
]
if keras.backend.backend() == "jax":  # which compiles a network of keras.applications for a minute
    CASES = [case for case in CASES if case[0] not in ("application", "frozen")]
SEVERAL = {"two_inputs", "dictionary", "subclassed_on_two"}


@pytest.fixture(scope="module")
def labels():
    return np.arange(64) % 2


def batch_of(name, labels):
    """What the model takes: dark and light images, and a vector where it takes two inputs."""
    rng = np.random.default_rng(0)
    shape = (32, 32, 3) if name in ("application", "frozen") else SHAPE
    level = np.array([-0.5, 0.5])[labels][:, None, None, None]
    image = (level + rng.uniform(-0.5, 0.5, (len(labels), *shape))).astype("float32")
    if name not in SEVERAL:
        return image
    facts = rng.normal(size=(len(labels), 5)).astype("float32")
    return [image, facts] if name == "two_inputs" else {"image": image, "facts": facts}


@pytest.fixture(scope="module")
def train(labels):
    """A model that took a few steps, once; gives it, its data, and what `fit` logged."""

    @functools.cache
    def train(name, policy):
        keras.utils.set_random_seed(0)
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            model = MODELS[name]()
            optimizer = keras.optimizers.Adam(1e-5)  # smaller than what tells the features apart
            if policy == "mixed_float16":
                # Keras's first scale overflows, which skips all of the few steps here.
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=16)
            # Without XLA, which takes longer to compile a network than all else here.
            model.compile(optimizer, ExponentiatedHashingLoss(), **WITHOUT_XLA)
            data = batch_of(name, labels)
            if not model.built:
                model(take(data, 2))
            # A batch is enough for the statistics of the head, so that codes differ.
            hashing = next(la for la in sublayers(model) if isinstance(la, HashingLayer))
            hashing.standardization.momentum = 0.0
            weights = [keras.ops.convert_to_numpy(w) for w in model.trainable_variables]
            evaluation = RetrievalEvaluation((data, labels))
            history = model.fit(
                data, labels, batch_size=32, epochs=1, verbose=0, callbacks=[evaluation]
            ).history
        finally:
            keras.config.set_dtype_policy(before)
        return model, data, history, weights

    return train


def take(data, count):
    return keras.tree.map_structure(lambda array: array[:count], data)


@pytest.mark.parametrize(("name", "policy"), CASES)
def test_it_trains_and_is_evaluated_as_its_codes_are(train, labels, name, policy):
    model, data, history, before = train(name, policy)
    assert np.isfinite(history["loss"][0])
    after = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    assert all(np.isfinite(weight).all() for weight in after)
    assert all((old != new).any() for old, new in zip(before, after) if old.size >= 8)
    relaxed = model.predict(data, batch_size=256, verbose=0)
    assert relaxed.dtype == np.float32
    assert np.abs(relaxed).max() <= 1
    packed = encode(model, data)
    assert packed.shape == (64, 2)
    assert len(np.unique(packed, axis=0)) > 1
    histograms = metrics.leave_one_out_histograms(packed, labels, BITS)
    assert history["val_map"][-1] == metrics.mean_average_precision(histograms)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="compiles for a minute on JAX")
def test_of_a_frozen_backbone_the_head_alone_trains(train):
    model, *_ = train("frozen", "mixed_bfloat16")
    (kernel,) = model.trainable_variables
    assert kernel.shape[-1] == BITS


@pytest.mark.parametrize(("name", "policy"), CASES)
def test_a_saved_model_gives_the_same_codes(train, tmp_path, name, policy):
    model, data, *_ = train(name, policy)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(encode(loaded, data), encode(model, data))


@pytest.mark.skipif(
    not ON_TENSORFLOW, reason="one export from JAX is in test_export_with_search.py"
)
@pytest.mark.parametrize(("name", "policy"), CASES)
def test_the_saved_model_takes_the_inputs_by_name_and_gives_the_same_codes(
    train, tmp_path, name, policy
):
    import tensorflow as tf

    from tfhash.export import export_saved_model

    model, data, *_ = train(name, policy)
    served = tf.saved_model.load(export_saved_model(model, tmp_path)).signatures["serving_default"]
    inputs = by_name(data)
    assert set(served.structured_input_signature[1]) == set(inputs)
    found = served(**{key: tf.constant(value) for key, value in inputs.items()})["codes"]
    np.testing.assert_array_equal(found.numpy(), encode(model, data))


def by_name(data):
    if isinstance(data, list):
        return dict(zip(("image", "facts"), data))
    return data if isinstance(data, dict) else {"images": data}


@pytest.mark.skipif(not ON_TENSORFLOW, reason="Keras exports to LiteRT from TensorFlow")
@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("application", "frozen")])
def test_the_litert_file_takes_the_inputs_by_name_and_gives_the_same_codes(train, tmp_path, name):
    pytest.importorskip("ai_edge_litert", reason="needs the extra litert: pip install '.[litert]'")
    from tfhash.export import compare, export_litert

    model, data, *_ = train(name, "float32")
    path = export_litert(model, tmp_path / "model.tflite")
    assert compare(model, path, by_name(data)).differing_elsewhere == 0


@pytest.mark.parametrize("name", sorted(SEVERAL))
def test_several_inputs_are_encoded_from_arrays_and_datasets(train, labels, name):
    tf = pytest.importorskip("tensorflow")
    model, data, *_ = train(name, "float32")
    expected = encode(model, data)
    assert encode(model, take(data, 0)).shape == (0, 2)
    np.testing.assert_array_equal(encode(model, take(data, 3), batch_size=2), expected[:3])
    as_tuple = tuple(data) if isinstance(data, list) else data
    batches = tf.data.Dataset.from_tensor_slices((as_tuple, labels)).batch(20)
    np.testing.assert_array_equal(encode(model, batches), expected)
    found, found_labels, bits = encode_with_labels(model, batches)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found_labels, labels)
    assert bits == BITS
