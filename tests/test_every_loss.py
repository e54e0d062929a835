"""What every loss has in common, and the values of those that other papers propose."""

import json

import keras
import numpy as np
import pytest
from gradient_hlo import hlo_of_gradient
from keras import ops

from tfhash import losses
from tfhash.layers import HashingLayer
from tfhash.losses.dtsh import triplet_mean

BITS, CLASSES = 6, 4

EVERY_LOSS = [
    losses.ExponentiatedHashingLoss(),
    losses.DPSHLoss(),
    losses.HashNetLoss(),
    losses.DCHLoss(),
    losses.DTSHLoss(),
    losses.CSQLoss(CLASSES, BITS),
    losses.OrthoHashLoss(CLASSES, BITS),
    losses.GreedyHashLoss(CLASSES, BITS),
]


@pytest.fixture(params=EVERY_LOSS, ids=lambda loss: loss.name)
def loss(request):
    return request.param


as_numpy = ops.convert_to_numpy


def values_of(loss, labels, codes):
    """The loss of each item."""
    each = type(loss).from_config({**loss.get_config(), "reduction": None})
    return as_numpy(each(labels, codes))


def softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def other_items(labels):
    """For each item, those that share a label and the others, itself left out."""
    labels = np.eye(CLASSES)[labels] if np.ndim(labels) == 1 else labels
    for i, label in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i]
        yield (
            i,
            [j for j in others if np.sum(labels[j] * label)],
            [j for j in others if not np.sum(labels[j] * label)],
        )


def distance_to_vertex(code):
    return np.mean((np.sign(code) - code) ** 2)


def naive_dpsh(labels, u, quantization_weight=0.1):
    values = []
    for i, near, far in other_items(labels):
        theta = u @ u[i] / 2
        likelihood = [theta[j] - np.log(1 + np.exp(theta[j])) for j in near]
        likelihood += [-np.log(1 + np.exp(theta[j])) for j in far]
        values.append(-np.mean(likelihood) + quantization_weight * distance_to_vertex(u[i]))
    return np.array(values)


def weights_of_pairs(labels):
    """What HashNet and DCH call w, for similar and for dissimilar pairs."""
    near = sum(len(near) for _, near, _ in other_items(labels))
    far = sum(len(far) for _, _, far in other_items(labels))
    return (near + far) / max(near, 1), (near + far) / max(far, 1)


def naive_hashnet(labels, h, alpha=10 / BITS):
    of_similar, of_others = weights_of_pairs(labels)
    values = []
    for i, near, far in other_items(labels):
        x = alpha * (h @ h[i])
        total = of_similar * sum(np.log(1 + np.exp(x[j])) - x[j] for j in near)
        total += of_others * sum(np.log(1 + np.exp(x[j])) for j in far)
        values.append(total / (len(near) + len(far)))
    return np.array(values)


def naive_dch(labels, h, gamma=5 / 12 * BITS, quantization_weight=0.1):
    def distance(x, y):
        return BITS / 2 * (1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y))

    of_similar, of_others = weights_of_pairs(labels)
    values = []
    for i, near, far in other_items(labels):
        total = 0.0
        for j in near:
            d = distance(h[i], h[j])
            total += of_similar * (np.log(d / gamma) + np.log(1 + gamma / d))
        for j in far:
            total += of_others * np.log(1 + gamma / distance(h[i], h[j]))
        to_vertex = distance(np.abs(h[i]), np.ones(BITS))
        quantization = quantization_weight * np.log(1 + to_vertex / gamma)
        values.append(total / (len(near) + len(far)) + quantization)
    return np.array(values)


def naive_dtsh(labels, u, margin=BITS / 4, quantization_weight=0.1):
    values = []
    for i, near, far in other_items(labels):
        theta = u @ u[i] / 2
        triplets = [
            -(theta[j] - theta[k] - margin - np.log(1 + np.exp(theta[j] - theta[k] - margin)))
            for j in near
            for k in far
        ]
        of_triplets = np.mean(triplets) if triplets else 0.0
        values.append(of_triplets + quantization_weight * distance_to_vertex(u[i]))
    return np.array(values)


def naive_csq(labels, h, quantization_weight=1e-4):
    centers = (losses.class_centers(CLASSES, BITS)[labels] + 1) / 2
    p = (1 + h) / 2
    bce = -(centers * np.log(p) + (1 - centers) * np.log(1 - p)).mean(axis=1)
    return bce + quantization_weight * np.log(np.cosh(np.abs(2 * p - 1) - 1)).sum(axis=1)


def naive_orthohash(labels, h, scale=8.0, margin=0.2):
    centers = losses.class_centers(CLASSES, BITS)
    values = []
    for label, code in zip(labels, h):
        cosine = centers @ code / np.linalg.norm(code) / np.sqrt(BITS)
        right = np.exp(scale * (cosine[label] - margin))
        wrong = sum(np.exp(scale * cosine[k]) for k in range(CLASSES) if k != label)
        values.append(-np.log(right / (right + wrong)))
    return np.array(values)


def naive_greedyhash(labels, h, penalty_weight=0.1, scale=10.0):
    logits = scale / BITS * np.sign(h) @ losses.class_centers(CLASSES, BITS).T
    cross_entropy = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    return cross_entropy + penalty_weight * (np.abs(np.abs(h) - 1) ** 3).mean(axis=1)


# The paper's formula, and other arguments than those by default.
NAIVE = {
    losses.DPSHLoss: (naive_dpsh, {"quantization_weight": 2.0}),
    losses.HashNetLoss: (naive_hashnet, {"alpha": 0.7}),
    losses.DCHLoss: (naive_dch, {"gamma": 1.5, "quantization_weight": 2.0}),
    losses.DTSHLoss: (naive_dtsh, {"margin": 0.3, "quantization_weight": 2.0}),
    losses.CSQLoss: (naive_csq, {"quantization_weight": 3.0}),
    losses.OrthoHashLoss: (naive_orthohash, {"scale": 3.0, "margin": 0.5}),
    losses.GreedyHashLoss: (naive_greedyhash, {"penalty_weight": 2.0, "scale": 3.0}),
}


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 3], [2, 2, 2, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize("by_default", [True, False])
@pytest.mark.parametrize("kind", NAIVE, ids=lambda kind: kind.__name__)
def test_values_are_those_of_the_papers_formula(rng, kind, by_default, labels):
    formula, others = NAIVE[kind]
    arguments = {} if by_default else others
    default = next(loss for loss in EVERY_LOSS if type(loss) is kind)
    loss = kind.from_config({**default.get_config(), **arguments})
    codes = rng.uniform(-0.95, 0.95, (len(labels), BITS)).astype("float32")
    expected = formula(np.array(labels), codes.astype("float64"), **arguments)
    np.testing.assert_allclose(
        values_of(loss, np.array(labels), codes), expected, rtol=1e-4, atol=1e-6
    )
    assert float(loss(np.array(labels), codes)) == pytest.approx(expected.mean(), rel=1e-4)


def test_gradient_agrees_with_finite_differences(rng, loss, gradient):
    if isinstance(loss, losses.GreedyHashLoss):
        pytest.skip("its gradient is meant to differ: it passes straight through the sign")
    codes = rng.uniform(-0.9, 0.9, (6, BITS)).astype("float32")
    labels = np.array([0, 0, 1, 1, 2, 2])
    direction = rng.normal(size=codes.shape).astype("float32")
    found = (gradient(lambda point: loss(labels, point), codes) * direction).sum()
    step = 1e-2
    ends = [float(loss(labels, codes + sign * step * direction)) for sign in (1, -1)]
    assert found == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=2e-2, abs=1e-3)


def test_the_gradient_of_greedyhash_is_that_of_its_classifier_at_the_signs(rng, gradient):
    codes = rng.uniform(-0.9, 0.9, (5, BITS)).astype("float32")
    labels = np.array([0, 1, 2, 3, 0])
    centers = losses.class_centers(CLASSES, BITS)
    loss = losses.GreedyHashLoss(CLASSES, BITS, penalty_weight=0.0)
    logits = 10 / BITS * np.sign(codes) @ centers.T
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = 10 / BITS * (shares - np.eye(CLASSES)[labels]) @ centers / len(labels)
    found = gradient(lambda point: loss(labels, point), codes)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("labels", [[0, 0, 1], [0, 0, 0], [0, 1, 2]])
def test_value_and_gradient_are_finite_at_the_vertices_and_the_origin(loss, labels, gradient):
    vertices = np.ones((3, BITS), "float32")
    vertices[2] = -1
    for codes in (vertices, np.zeros((3, BITS), "float32")):
        assert np.isfinite(float(loss(np.array(labels), codes)))
        assert np.isfinite(gradient(lambda point: loss(np.array(labels), point), codes)).all()


def test_a_batch_of_one_is_finite(loss):
    assert np.isfinite(float(loss(np.array([1]), np.full((1, BITS), 0.5, "float32"))))


def test_one_hot_labels_give_the_loss_of_integer_labels(rng, loss):
    labels, codes = np.array([0, 2, 2, 1]), rng.uniform(-1, 1, (4, BITS)).astype("float32")
    expected = values_of(loss, labels, codes)
    for same in (np.eye(CLASSES)[labels], labels[:, None]):
        np.testing.assert_allclose(values_of(loss, same, codes), expected, rtol=1e-6)


# The middle item is similar to both others, but they are not to each other.
CHAIN = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]])


@pytest.mark.parametrize("loss", EVERY_LOSS[1:5], ids=lambda loss: loss.name)
def test_items_are_similar_if_they_share_any_label(rng, loss):
    codes = rng.uniform(-0.95, 0.95, (3, BITS)).astype("float32")
    formula, _ = NAIVE[type(loss)]
    expected = formula(CHAIN, codes.astype("float64"))
    np.testing.assert_allclose(values_of(loss, CHAIN, codes), expected, rtol=1e-4)


def test_the_exponentiated_loss_counts_any_shared_label(rng):
    codes = rng.uniform(-1, 1, (3, BITS)).astype("float32")
    found = values_of(EVERY_LOSS[0], CHAIN, codes)
    first = values_of(EVERY_LOSS[0], np.array([0, 0, 1]), codes)[0]
    middle = values_of(EVERY_LOSS[0], np.array([0, 0, 0]), codes)[1]
    np.testing.assert_allclose(found[:2], [first, middle], rtol=1e-5)


@pytest.mark.parametrize(
    "loss",
    [losses.OrthoHashLoss(CLASSES, BITS, margin=0.0), losses.GreedyHashLoss(CLASSES, BITS)],
    ids=lambda loss: loss.name,
)
def test_the_labels_of_an_item_are_equally_likely(rng, loss):
    codes = rng.uniform(-1, 1, (3, BITS)).astype("float32")
    both = np.array([[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 1]])
    firsts, seconds = (np.array(labels) for labels in ([0, 1, 2], [1, 3, 3]))
    expected = (values_of(loss, firsts, codes) + values_of(loss, seconds, codes)) / 2
    np.testing.assert_allclose(values_of(loss, both, codes), expected, rtol=1e-5)


def test_the_center_of_two_labels_is_nearer_to_theirs_than_to_any_other():
    classes, bits = 20, 64
    loss = losses.CSQLoss(classes, bits)
    pairs = [(i, j) for i in range(classes) for j in range(i)]
    memberships = np.zeros((len(pairs), classes), "float32")
    memberships[np.arange(len(pairs))[:, None], pairs] = 1
    centers = as_numpy(loss.center_of(memberships))
    assert set(np.unique(centers)) == {-1.0, 1.0}
    agreements = centers @ loss.centers.T
    own = np.where(memberships, agreements, np.inf).min(axis=1)
    others = np.where(memberships, -np.inf, agreements).max(axis=1)
    assert (own > others).all()
    for (i, j), center in zip(pairs, centers):
        agreed = loss.centers[i] == loss.centers[j]
        np.testing.assert_array_equal(center[agreed], loss.centers[i][agreed])


@pytest.mark.parametrize("loss", EVERY_LOSS[5:], ids=lambda loss: loss.name)
def test_an_item_without_labels_is_pulled_to_no_center(rng, loss, gradient):
    codes = np.where(rng.random((1, BITS)) < 0.5, -1, 1).astype("float32")
    none = np.zeros((1, CLASSES))
    assert float(loss(none, codes)) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(gradient(lambda h: loss(none, h), codes), 0, atol=1e-6)


@pytest.mark.parametrize("loss", EVERY_LOSS[5:], ids=lambda loss: loss.name)
def test_a_label_out_of_range_gives_nan(rng, loss):
    of_items = values_of(loss, np.array([1, -1, 2**20]), rng.uniform(-1, 1, (3, BITS)))
    np.testing.assert_array_equal(np.isnan(of_items), [False, True, True])


def test_samples_are_weighted(rng, loss):
    labels, codes = np.array([0, 0, 1]), rng.uniform(-1, 1, (3, BITS)).astype("float32")
    weights = np.array([1.0, 0.5, 2.0], "float32")
    expected = (values_of(loss, labels, codes) * weights).sum() / 3
    assert float(loss(labels, codes, sample_weight=weights)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("make", [losses.CSQLoss, losses.OrthoHashLoss, losses.GreedyHashLoss])
def test_numpy_integers_are_accepted(make):
    loss = make(np.int64(CLASSES), np.int32(BITS))
    assert json.dumps(loss.get_config()) == json.dumps(make(CLASSES, BITS).get_config())


def test_config_restores_the_loss(loss):
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(restored) is type(loss)
    assert restored.get_config() == loss.get_config()


@pytest.mark.parametrize(
    ("labels", "codes", "message"),
    [
        (np.zeros(3), np.zeros((2, BITS)), "one label for each code. Received: 3 labels"),
        (np.zeros((2, 2, 2)), np.zeros((2, BITS)), "`labels` must be integers of shape"),
        (np.zeros(2), np.zeros(2), r"codes must have shape \[n, bits\]"),
    ],
)
def test_labels_and_codes_that_do_not_fit_are_refused(loss, labels, codes, message):
    with pytest.raises(ValueError, match=message):
        loss(labels, codes)


@pytest.mark.parametrize("loss", EVERY_LOSS[5:], ids=lambda loss: loss.name)
def test_losses_with_centers_refuse_other_bits_and_classes(loss):
    with pytest.raises(ValueError, match=rf"codes must have shape \[n, {BITS}\]"):
        loss(np.zeros(2), np.zeros((2, BITS + 1)))
    with pytest.raises(ValueError, match=rf"multi-hot labels must have shape \[n, {CLASSES}\]"):
        loss(np.zeros((2, CLASSES + 1)), np.zeros((2, BITS)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.DPSHLoss(quantization_weight=-1), "`quantization_weight` must be at least"),
        (lambda: losses.HashNetLoss(alpha=0), "`alpha` must be above 0. Received: alpha=0"),
        (lambda: losses.DCHLoss(gamma=float("nan")), "`gamma` must be above 0"),
        (lambda: losses.DTSHLoss(margin=-0.5), "`margin` must be at least 0"),
        (lambda: losses.CSQLoss(0, 12), "`num_classes` must be an integer >= 1"),
        (lambda: losses.CSQLoss(5, 2), r"must be at most 2\*\*bits.* Received: num_classes=5 and"),
        (lambda: losses.OrthoHashLoss(10, 12, margin=2), r"`margin` must be in \[0, 2\)"),
        (lambda: losses.GreedyHashLoss(10, 12, scale=0), "`scale` must be above 0"),
    ],
)
def test_arguments_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_trains_a_hashing_layer_in_any_keras_model(rng, loss):
    labels = np.arange(64) % CLASSES
    features = (np.eye(CLASSES)[labels] * 3 + rng.normal(size=(64, CLASSES))).astype("float32")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((CLASSES,))
    model = keras.Model(inputs, HashingLayer(BITS)(inputs))
    model.compile(keras.optimizers.Adam(0.05), loss=loss)
    seen = model.fit(features, labels, batch_size=32, epochs=15, verbose=0).history["loss"]
    assert seen[-1] < 0.8 * seen[0]


def test_no_loss_holds_a_tensor_of_all_triplets(loss, largest_tensor):
    n = 96
    labels, codes = np.arange(n) % CLASSES, np.zeros((n, BITS), "float32")
    assert largest_tensor(hlo_of_gradient(lambda h: loss(labels, h), codes)) <= 2 * n * n


def test_tensors_of_all_triplets_are_seen(largest_tensor):
    n = 96
    hlo = hlo_of_gradient(
        lambda x: ops.sum(ops.exp(x[:, None, None] - x[:, None] * x)), np.ones(n, "float32")
    )
    assert largest_tensor(hlo) == n**3


def test_triplets_of_an_anchor_are_all_counted_once():
    theta = np.array([[0.0, 1.0, 2.0, 4.0]] * 4, "float32")
    positive = np.array([[0, 1, 1, 0], [0] * 4, [0] * 4, [0] * 4], "float32")
    negative = np.array([[0, 0, 0, 1], [1, 0, 1, 1], [0] * 4, [0] * 4], "float32")
    found = as_numpy(triplet_mean(theta, positive, negative, margin=1.0))
    expected = (softplus(-(1.0 - 4.0 - 1.0)) + softplus(-(2.0 - 4.0 - 1.0))) / 2
    np.testing.assert_allclose(found, [expected, 0, 0, 0], rtol=1e-6)


def test_the_gradient_of_weighted_triplets_is_that_of_finite_differences(rng, gradient):
    labels, weights = np.array([0, 0, 1, 1, 2]), np.array([1.0, 0.0, 3.0, 0.5, 2.0], "float32")
    codes = rng.uniform(-1, 1, (5, 3)).astype("float32")

    def weighted(codes):
        return losses.DTSHLoss()(labels, codes, sample_weight=weights)

    numerical = np.zeros_like(codes)
    for at in np.ndindex(codes.shape):
        step = np.zeros_like(codes)
        step[at] = 1e-2
        numerical[at] = (float(weighted(codes + step)) - float(weighted(codes - step))) / 2e-2
    np.testing.assert_allclose(gradient(weighted, codes), numerical, atol=2e-3)
