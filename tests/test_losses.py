import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tfhash import losses
from tfhash.layers import HashingLayer
from tfhash.losses import ExponentiatedHashingLoss, exponentiated

# float32 products over up to 64 factors.
CLOSE = {"rtol": 2e-5, "atol": 1e-30}


def as_numpy(x):
    return ops.convert_to_numpy(x)


def naive_bilinear(left, right, similar, scale):
    """The definition, with the [n, m, B] tensor and in float64."""
    a = scale / left.shape[1]
    sign = np.where(similar, 1.0, -1.0)[:, :, None]
    u = left[:, None, :].astype("float64") * right[None, :, :]
    return np.prod(np.cosh(a) - sign * u * np.sinh(a), axis=2)


def naive_exponentiated(left, right, similar, scale):
    sign = np.where(similar, 1.0, -1.0)
    return np.exp(-scale / left.shape[1] * sign * (left.astype("float64") @ right.T))


def naive_balanced(pair_loss, similar):
    values = []
    for i in range(len(pair_loss)):
        others = [j for j in range(len(pair_loss)) if j != i]
        groups = ([j for j in others if similar[i, j] == kind] for kind in (True, False))
        values.append(sum(np.mean(pair_loss[i, g]) for g in groups if g))
    return np.array(values)


def random_pairs(rng, n, m, bits):
    left, right = (rng.uniform(-1, 1, (count, bits)).astype("float32") for count in (n, m))
    return left, right, rng.random((n, m)) < 0.4


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0, 12.0, 40.0])
@pytest.mark.parametrize("bits", [1, 2, 12, 64])
def test_series_and_bits_agree_with_the_definition(rng, scale, bits):
    left, right, similar = random_pairs(rng, 7, 5, bits)
    expected = naive_bilinear(left, right, similar, scale)
    by_bits = np.exp(as_numpy(exponentiated.log_bilinear_by_bits(left, right, similar, scale)))
    np.testing.assert_allclose(by_bits, expected, rtol=2e-4)
    chosen = as_numpy(losses.bilinear_pair_loss(left, right, similar, scale))
    np.testing.assert_allclose(chosen, expected, rtol=2e-4)
    if scale / bits <= 1:
        series = as_numpy(exponentiated.log_bilinear_by_series(left, right, similar, scale))
        np.testing.assert_allclose(np.exp(series), expected, **{**CLOSE, "rtol": 1e-4})


@pytest.mark.parametrize("scale", [1.0, 4.0, 20.0])
@pytest.mark.parametrize("bits", [1, 3, 12])
def test_bilinear_equals_exponentiated_at_every_vertex(rng, bits, scale):
    left, right = (rng.choice([-1.0, 1.0], (6, bits)).astype("float32") for _ in range(2))
    similar = rng.random((6, 6)) < 0.5
    bilinear = as_numpy(losses.bilinear_pair_loss(left, right, similar, scale))
    np.testing.assert_allclose(
        bilinear, naive_exponentiated(left, right, similar, scale), rtol=2e-4
    )


def test_a_pair_costs_exp_of_scale_when_all_wrong_and_of_minus_scale_when_all_right():
    codes = np.ones((1, 12), "float32")
    for similar, expected in ((True, np.exp(-4.0)), (False, np.exp(4.0))):
        mask = np.array([[similar]])
        for pair_loss in (losses.bilinear_pair_loss, losses.exponentiated_pair_loss):
            np.testing.assert_allclose(as_numpy(pair_loss(codes, codes, mask, 4.0)), expected, 1e-5)


@pytest.mark.parametrize("is_similar", [True, False])
def test_bilinear_is_the_expectation_over_random_bits(rng, is_similar):
    bits, draws, scale = 5, 200_000, 3.0
    left, right = rng.uniform(-1, 1, (2, bits)).astype("float32")
    drawn = [np.where(rng.random((draws, bits)) < (1 + h) / 2, 1, -1) for h in (left, right)]
    sign = 1 if is_similar else -1
    sample = np.exp(-scale / bits * sign * (drawn[0] * drawn[1]).sum(axis=1))
    value = losses.bilinear_pair_loss(left[None], right[None], np.array([[is_similar]]), scale)
    error = sample.std() / np.sqrt(draws)
    assert abs(as_numpy(value)[0, 0] - sample.mean()) < 4 * error


@given(st.integers(0, 2**32 - 1), st.integers(1, 16), st.floats(0.1, 8))
@settings(deadline=None, max_examples=40)
def test_bilinear_is_linear_in_each_coordinate_and_positive(seed, bits, scale):
    rng = np.random.default_rng(seed)
    left, right, similar = random_pairs(rng, 3, 3, bits)
    k = rng.integers(bits)

    def with_coordinate(value):
        moved = left.copy()
        moved[:, k] = value
        return as_numpy(losses.bilinear_pair_loss(moved, right, similar, scale))

    low, middle, high = (with_coordinate(value) for value in (-1.0, 0.25, 1.0))
    assert (low > 0).all()
    assert (high > 0).all()
    np.testing.assert_allclose(middle, 0.375 * low + 0.625 * high, rtol=1e-4)


def test_the_minimum_over_the_cube_is_at_a_vertex(rng):
    bits, items, scale = 2, 3, 4.0
    labels = np.array([0, 0, 1])
    loss = ExponentiatedHashingLoss(scale)
    vertices = [
        np.array(v, "float32").reshape(items, bits)
        for v in itertools.product([-1, 1], repeat=items * bits)
    ]
    best = min(float(loss(labels, vertex)) for vertex in vertices)
    inside = [rng.uniform(-1, 1, (items, bits)).astype("float32") for _ in range(100)]
    assert best <= min(float(loss(labels, codes)) for codes in inside)


@pytest.mark.parametrize("approximation", ["bilinear", None])
@pytest.mark.parametrize(("bits", "scale"), [(12, 4.0), (2, 8.0), (33, 1.0)])
def test_gradient_agrees_with_finite_differences(rng, approximation, bits, scale, gradient):
    codes = rng.uniform(-0.9, 0.9, (6, bits)).astype("float32")
    labels = np.array([0, 0, 1, 1, 2, 2])
    loss = ExponentiatedHashingLoss(scale, approximation)
    naive_pairs = naive_bilinear if approximation else naive_exponentiated

    def naive(point):
        similar = labels[:, None] == labels
        return naive_balanced(naive_pairs(point, point, similar, scale), similar).mean()

    step = 1e-4
    numeric = np.zeros_like(codes)
    for index in np.ndindex(codes.shape):
        moved = np.repeat(codes[None].astype("float64"), 2, axis=0)
        moved[0][index] += step
        moved[1][index] -= step
        numeric[index] = (naive(moved[0]) - naive(moved[1])) / (2 * step)
    found = gradient(lambda point: loss(labels, point), codes)
    np.testing.assert_allclose(found, numeric, rtol=1e-3, atol=1e-4 * np.abs(numeric).max())


@pytest.mark.parametrize("scale", [4.0, 40.0])
def test_gradient_is_finite_at_the_vertices(scale, gradient):
    codes = np.array([[1.0], [1.0], [-1.0]], "float32")
    loss = ExponentiatedHashingLoss(scale)
    assert np.isfinite(gradient(lambda point: loss(np.array([0, 0, 1]), point), codes)).all()
    assert np.isfinite(gradient(lambda point: loss(np.array([0, 1, 0]), point), codes)).all()


@pytest.mark.parametrize("approximation", ["bilinear", None])
def test_value_of_a_sample_is_its_balanced_mean(rng, approximation):
    labels = np.array([0, 0, 0, 1, 1, 2])
    codes = rng.uniform(-1, 1, (6, 12)).astype("float32")
    naive_pairs = naive_bilinear if approximation else naive_exponentiated
    similar = labels[:, None] == labels
    expected = naive_balanced(naive_pairs(codes, codes, similar, 4.0), similar)
    values = ExponentiatedHashingLoss(4.0, approximation, reduction=None)(labels, codes)
    np.testing.assert_allclose(as_numpy(values), expected, rtol=1e-4)
    mean = ExponentiatedHashingLoss(4.0, approximation)(labels, codes)
    assert float(mean) == pytest.approx(expected.mean(), rel=1e-4)


def test_an_item_without_labels_is_no_pair_with_itself():
    codes = np.array([[1.0, 1.0], [-1.0, -1.0]], "float32")
    labels = np.array([[1, 0], [0, 0]])
    values = ExponentiatedHashingLoss(2.0, reduction=None)(labels, codes)
    # Dissimilar, and different in both bits.
    np.testing.assert_allclose(as_numpy(values), [np.exp(-2.0)] * 2, rtol=1e-5)
    alone = ExponentiatedHashingLoss(2.0)(labels[1:], codes[1:])
    assert float(alone) == 0.0


def test_an_anchor_without_positives_keeps_its_negative_term():
    codes = np.array([[1.0, 1.0], [1.0, -1.0]], "float32")
    values = ExponentiatedHashingLoss(2.0, reduction=None)(np.array([0, 1]), codes)
    np.testing.assert_allclose(as_numpy(values), [1.0, 1.0], rtol=1e-5)


def test_a_batch_of_one_or_of_one_class_costs_no_negatives():
    loss = ExponentiatedHashingLoss(2.0)
    assert float(loss(np.array([3]), np.ones((1, 4), "float32"))) == 0.0
    alike = loss(np.array([3, 3]), np.ones((2, 4), "float32"))
    assert float(alike) == pytest.approx(np.exp(-2.0), rel=1e-5)


def test_sample_weight_weighs_the_anchors(rng):
    labels, codes = np.array([0, 0, 1]), rng.uniform(-1, 1, (3, 8)).astype("float32")
    values = as_numpy(ExponentiatedHashingLoss(reduction=None)(labels, codes))
    weights = np.array([1.0, 0.5, 2.0], "float32")
    weighted = ExponentiatedHashingLoss()(labels, codes, sample_weight=weights)
    assert float(weighted) == pytest.approx((values * weights).sum() / 3, rel=1e-5)


def test_one_hot_labels_give_the_loss_of_integer_labels(rng):
    labels, codes = np.array([0, 2, 2, 1]), rng.uniform(-1, 1, (4, 8)).astype("float32")
    loss = ExponentiatedHashingLoss()
    assert float(loss(np.eye(3)[labels], codes)) == float(loss(labels, codes))
    assert float(loss(labels[:, None], codes)) == float(loss(labels, codes))


def test_low_precision_codes_are_computed_in_float32(rng):
    labels, codes = np.array([0, 0, 1]), rng.uniform(-1, 1, (3, 8)).astype("float16")
    value = ExponentiatedHashingLoss()(labels, ops.convert_to_tensor(codes))
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    exact = ExponentiatedHashingLoss()(labels, codes.astype("float32"))
    assert float(value) == float(exact)


def test_config_restores_the_loss():
    loss = ExponentiatedHashingLoss(3.0, None, reduction="sum", name="mine")
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(restored, ExponentiatedHashingLoss)
    assert restored.get_config() == loss.get_config()


@pytest.mark.parametrize("scale", [0, -1.0, 41.0, float("nan")])
def test_a_scale_out_of_range_is_refused(scale):
    with pytest.raises(ValueError, match=r"`scale` must be in \(0, 40\]. Received: scale="):
        ExponentiatedHashingLoss(scale)


def test_an_unknown_approximation_is_refused():
    with pytest.raises(ValueError, match="`approximation` must be"):
        ExponentiatedHashingLoss(approximation="cubic")


@pytest.mark.parametrize(
    ("labels", "codes", "message"),
    [
        (np.zeros(3), np.zeros((2, 4)), "one label for each code. Received: 3 labels and 2 codes"),
        (np.zeros((2, 2, 2)), np.zeros((2, 4)), "`labels` must be integers of shape"),
        (np.zeros(2), np.zeros(2), r"codes must have shape \[n, bits\]"),
    ],
)
def test_labels_and_codes_that_do_not_fit_are_refused(labels, codes, message):
    with pytest.raises(ValueError, match=message):
        ExponentiatedHashingLoss()(labels, codes)


@pytest.mark.parametrize("kind", ["integers", "column", "multi_hot"])
def test_trains_a_hashing_layer_in_any_keras_model(rng, kind):
    labels = np.arange(64) % 4
    features = (np.eye(4)[labels] * 3 + 0.3 * rng.normal(size=(64, 4))).astype("float32")
    y = {"integers": labels, "column": labels[:, None], "multi_hot": np.eye(4)[labels]}[kind]
    inputs = keras.Input((4,))
    model = keras.Model(inputs, HashingLayer(8)(inputs))
    model.compile(keras.optimizers.Adam(0.05), loss=ExponentiatedHashingLoss())
    losses_seen = model.fit(features, y, batch_size=64, epochs=30, verbose=0).history["loss"]
    expected = ExponentiatedHashingLoss()(labels, model.predict(features, verbose=0))
    found = model.evaluate(features, y, batch_size=64, verbose=0)
    assert found == pytest.approx(float(expected), rel=1e-4)
    assert losses_seen[-1] < 0.8 * losses_seen[0]
    # Agreement 1 within a class; between four classes -1/3, which is the least for all pairs alike.
    least = np.exp(-2) + np.exp(-2 / 3)
    assert losses_seen[-1] < 1.3 * least < losses_seen[0]
