import keras
import numpy as np
import pytest
from keras import ops

from tfhash.layers import ClassifierLayer, HashingLayer, ImageScaling, PatchWhitening
from tfhash.losses import ExponentiatedHashingLoss


@pytest.mark.parametrize("bits", [1, 12, 65])
def test_relaxed_codes_lie_in_the_cube(rng, bits):
    codes = ops.convert_to_numpy(HashingLayer(bits)(rng.normal(0, 10, (9, 6)).astype("float32")))
    assert codes.shape == (9, bits)
    assert np.abs(codes).max() <= 1


@pytest.mark.parametrize(("lr_multiplier", "slope"), [(1.0, 2.5), (30.0, 1.0)])
def test_relaxed_codes_are_tanh_of_a_standardized_projection(rng, lr_multiplier, slope):
    layer = HashingLayer(5, lr_multiplier=lr_multiplier, slope=slope)
    features = rng.normal(3, 2, size=(40, 3)).astype("float32")
    layer.build(features.shape)
    projected = lr_multiplier * features @ ops.convert_to_numpy(layer.kernel)
    mean, variance = projected.mean(axis=0), projected.var(axis=0)
    of_batch, of_recent = (mean, variance), (0.1 * mean, 0.9 + 0.1 * variance)
    # Before any training, in training, and after it.
    for training, (middle, square) in ((False, (0, 1)), (True, of_batch), (False, of_recent)):
        expected = np.tanh(slope * (projected - middle) / np.sqrt(square + 1e-3))
        np.testing.assert_allclose(
            ops.convert_to_numpy(layer(features, training=training)), expected, atol=1e-5
        )


def test_lr_multiplier_keeps_the_initial_codes_and_multiplies_the_steps_of_adam(rng):
    features = rng.uniform(-0.5, 0.5, (50, 3)).astype("float32")
    labels = rng.integers(0, 2, 50)
    first, turned = {}, {}
    for lr_multiplier in (1.0, 30.0):
        keras.utils.set_random_seed(0)
        layer = HashingLayer(6, lr_multiplier=lr_multiplier)
        model = keras.Sequential([keras.Input((3,)), layer])
        model.compile(keras.optimizers.Adam(1e-4), ExponentiatedHashingLoss())
        first[lr_multiplier] = model.predict(features, verbose=0)
        before = ops.convert_to_numpy(layer.kernel)
        model.train_on_batch(features, labels)
        step = ops.convert_to_numpy(layer.kernel) - before
        turned[lr_multiplier] = np.linalg.norm(step) / np.linalg.norm(before)
    np.testing.assert_allclose(first[30.0], first[1.0], atol=1e-6)
    assert turned[30.0] == pytest.approx(30 * turned[1.0], rel=0.01)


def test_the_multiplier_of_the_classifier_keeps_the_initial_logits_and_multiplies_the_steps_of_adam(
    rng,
):
    features = rng.normal(size=(50, 3)).astype("float32")
    labels = rng.integers(0, 4, 50)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    first, moved = {}, {}
    for lr_multiplier in (1.0, 10.0):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), ClassifierLayer(4, lr_multiplier)])
        model.compile(keras.optimizers.Adam(1e-4), loss)
        first[lr_multiplier] = model.predict(features, verbose=0)
        model.train_on_batch(features, labels)
        moved[lr_multiplier] = model.predict(features, verbose=0) - first[lr_multiplier]
    np.testing.assert_allclose(first[10.0], first[1.0], atol=1e-6)
    np.testing.assert_allclose(moved[10.0], 10 * moved[1.0], rtol=0.01, atol=1e-5)


def test_the_classifier_computes_what_a_dense_layer_does_and_takes_its_weights(rng):
    features = rng.normal(size=(5, 3)).astype("float32")
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(4)
    dense.build(features.shape)
    keras.utils.set_random_seed(0)
    layer = ClassifierLayer(4)
    layer.build(features.shape)
    np.testing.assert_array_equal(*map(ops.convert_to_numpy, (layer.kernel, dense.kernel)))
    weights = [rng.normal(size=weight.shape).astype("float32") for weight in dense.weights]
    for each in (dense, layer):
        each.set_weights(weights)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(features)), ops.convert_to_numpy(dense(features)), rtol=1e-6
    )


@pytest.mark.parametrize("lr_multiplier", [0, -1.0, float("inf"), float("nan")])
def test_a_multiplier_of_the_classifier_that_is_no_finite_number_above_0_is_refused(lr_multiplier):
    with pytest.raises(ValueError, match="`lr_multiplier` must be a finite number above 0"):
        ClassifierLayer(4, lr_multiplier)


def test_every_bit_has_items_on_both_sides_wherever_the_features_lie(rng):
    features = rng.normal(size=(64, 10)).astype("float32")
    layer = HashingLayer(48)
    near, far = (ops.convert_to_numpy(layer(features + shift, training=True)) for shift in (0, 50))
    assert ((far > 0).any(axis=0) & (far < 0).any(axis=0)).all()
    np.testing.assert_allclose(near, far, atol=1e-3)
    assert (np.abs(near).mean(axis=0) < np.tanh(2.5)).all()


def test_one_item_alone_has_codes_of_0_in_training():
    relaxed = HashingLayer(4)(np.ones((1, 3), "float32"), training=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(relaxed), np.zeros((1, 4)))


@pytest.mark.parametrize("reloaded", [False, True])
def test_a_frozen_layer_keeps_its_statistics(rng, reloaded):
    layer = HashingLayer(4, trainable=False)
    if reloaded:
        layer = HashingLayer.from_config(layer.get_config())
    features = rng.normal(5, 1, (20, 3)).astype("float32")
    relaxed = ops.convert_to_numpy(layer(features))
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(features, training=True)), relaxed)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(features)), relaxed)


@pytest.mark.parametrize("argument", ["lr_multiplier", "slope"])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_lr_multiplier_and_slope_must_be_above_0(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be a finite number above 0. Received"):
        HashingLayer(4, **{argument: value})


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_codes_are_those_of_float32_under_every_policy(rng, policy):
    features = rng.normal(10, 1, (30, 2)).astype("float32")
    layer, plain = HashingLayer(4, dtype=policy), HashingLayer(4)
    for built in (layer, plain):
        built.build((None, 2))
    plain.set_weights(layer.get_weights())
    expected = ops.convert_to_numpy(plain(features, training=True))
    relaxed = layer(features, training=True)
    assert keras.backend.standardize_dtype(relaxed.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(relaxed), expected, atol=1e-3)


def test_works_in_functional_sequential_and_subclassed_models(rng):
    features = rng.normal(size=(2, 3)).astype("float32")
    inputs = keras.Input((3,))

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.hashing = HashingLayer(7)

        def call(self, x):
            return self.hashing(x)

    for model in (
        keras.Model(inputs, HashingLayer(7)(inputs)),
        keras.Model(inputs, HashingLayer(7)(inputs, training=False)),
        keras.Sequential([HashingLayer(7)]),
        Subclassed(),
    ):
        assert model(features).shape == (2, 7)


def test_saved_model_gives_the_same_codes(rng, tmp_path):
    features = rng.normal(size=(5, 3)).astype("float32")
    model = keras.Sequential(
        [keras.Input((3,)), HashingLayer(9, "he_normal", lr_multiplier=5, slope=2)]
    )
    model(features, training=True)  # statistics other than those at the start
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model(features)), ops.convert_to_numpy(restored(features))
    )
    assert restored.layers[-1].get_config() == model.layers[-1].get_config()


@pytest.mark.parametrize("bits", [0, -3, 1.5, None])
def test_bits_below_one_are_refused(bits):
    with pytest.raises(ValueError, match="`bits` must be an integer >= 1"):
        HashingLayer(bits)


@pytest.mark.parametrize("shape", [(3,), (2, 4, 4, 3)])
def test_features_of_another_rank_are_refused(shape):
    with pytest.raises(ValueError, match=r"features of shape \[n, f\]"):
        HashingLayer(4)(np.zeros(shape, "float32"))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_scaling_maps_0_to_255_onto_the_cube(dtype):
    images = np.array([0, 51, 255], dtype).reshape(1, 1, 3, 1)
    scaled = ops.convert_to_numpy(ImageScaling()(images)).ravel()
    np.testing.assert_allclose(scaled, [-1, -0.6, 1], atol=1e-6)


def test_scaling_repeats_gray_and_adds_the_channel_axis():
    images = np.arange(8, dtype="uint8").reshape(2, 2, 2)
    scaled = ops.convert_to_numpy(ImageScaling(channels=3)(images))
    assert scaled.shape == (2, 2, 2, 3)
    np.testing.assert_array_equal(scaled[..., 0], scaled[..., 2])
    assert ImageScaling(channels=3).compute_output_shape((None, 2, 2)) == (None, 2, 2, 3)


@pytest.mark.parametrize("shape", [(4,), (2, 4, 4, 3), (2, 4, 4, 2)])
def test_scaling_refuses_what_it_cannot_make_gray(shape):
    with pytest.raises(ValueError, match="images must have shape"):
        ImageScaling(channels=1)(np.zeros(shape, "uint8"))


def test_scaling_refuses_an_odd_number_of_channels():
    with pytest.raises(ValueError, match="`channels` must be None, 1 or 3"):
        ImageScaling(channels=2)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_whitened_patches_are_uncorrelated_and_of_one_size(rng, size, channels):
    mixing = rng.normal(size=(channels, channels)) + 2
    pixels = np.cumsum(rng.normal(size=(200, 9, 8, channels)), axis=2) @ mixing
    layer = PatchWhitening(size, epsilon=1e-9)
    layer.adapt(pixels.astype("float32"))
    outputs = ops.convert_to_numpy(layer(pixels.astype("float32")))
    count = size**2 * channels
    assert outputs.shape == (200, 10 - size, 9 - size, 2 * count)
    assert outputs.shape == layer.compute_output_shape(pixels.shape)
    covariance = np.cov(outputs.reshape(-1, 2 * count)[:, :count], rowvar=False)
    np.testing.assert_allclose(covariance.reshape(count, count), np.eye(count), atol=1e-2)
    np.testing.assert_allclose(outputs[..., :count], -outputs[..., count:], rtol=1e-5, atol=1e-5)


def test_whitening_does_not_blow_up_what_hardly_varies(rng):
    pixels = (
        rng.normal(size=(50, 4, 4, 1)).repeat(2, axis=3).astype("float32")
    )  # two equal channels
    layer = PatchWhitening(1, epsilon=0.01)
    layer.adapt(pixels)
    assert np.abs(ops.convert_to_numpy(layer(pixels))).max() < 10


def test_the_filters_of_a_whitening_do_not_train():
    layer = PatchWhitening()
    layer.build((None, 8, 8, 3))
    assert [tuple(w.shape) for w in layer.trainable_weights] == [(24,)]


def test_batches_whiten_as_all_images_at_once(rng):
    images = rng.normal(2.0, 3.0, (30, 5, 5, 3)).astype("float32")
    at_once, in_batches = PatchWhitening(), PatchWhitening()
    at_once.adapt(images)
    in_batches.adapt(iter([images[:7], images[7:]]))
    kernels = [ops.convert_to_numpy(layer.kernel) for layer in (at_once, in_batches)]
    np.testing.assert_allclose(np.abs(kernels[0]), np.abs(kernels[1]), rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="`images` must hold at least one image"):
        PatchWhitening().adapt(iter([]))


def test_whitening_takes_images_of_any_size():
    assert PatchWhitening(3).compute_output_shape((None, None, 9, 1)) == (None, None, 7, 18)


@pytest.mark.parametrize("arguments", [{"size": 0}, {"size": 2.5}, {"epsilon": 0.0}])
def test_whitening_out_of_range_is_refused(arguments):
    with pytest.raises(ValueError, match="`size` must be an integer >= 1 and `epsilon` above 0"):
        PatchWhitening(**arguments)
