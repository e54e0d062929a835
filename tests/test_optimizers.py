import keras
import numpy as np
import pytest
from keras import ops

from tfhash.optimizers import ConvMuon, orthogonalized

KERNEL = (3, 3, 2, 5)


def variable(value):
    return keras.Variable(np.asarray(value, "float32"))


def numpy_of(tensor):
    return ops.convert_to_numpy(tensor)


def quintic(singular_values, times):
    """What the iteration makes of singular values, one by one."""
    for _ in range(times):
        s = singular_values
        singular_values = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    return singular_values


@pytest.mark.parametrize("shape", [(18, 5), (5, 18), (4, 4), (1, 7), (7, 1), (576, 64)])
@pytest.mark.parametrize("ns_steps", [1, 3, 5])
def test_singular_values_follow_the_quintic_and_singular_vectors_stay(rng, shape, ns_steps):
    matrix = rng.normal(size=shape)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    expected = left * quintic(values / np.linalg.norm(matrix), ns_steps) @ right
    found = numpy_of(orthogonalized(ops.convert_to_tensor(matrix, "float32"), ns_steps))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_five_iterations_bring_singular_values_near_to_one(rng):
    matrix = ops.convert_to_tensor(rng.normal(size=(40, 8)), "float32")
    values = np.linalg.svd(numpy_of(orthogonalized(matrix, 5)), compute_uv=False)
    assert 0.6 < values.min() <= values.max() < 1.25


def test_nothing_to_learn_moves_nothing():
    assert not numpy_of(orthogonalized(ops.zeros((6, 3)), 3)).any()
    kernel = variable(np.ones(KERNEL))
    ConvMuon(0.1, weight_decay=0.0).apply([ops.zeros(KERNEL)], [kernel])
    np.testing.assert_array_equal(numpy_of(kernel), 1)


def test_two_steps_of_a_kernel_are_those_worked_out_in_numpy(rng):
    start, first, second = rng.normal(size=(3, *KERNEL))
    kernel = variable(start)
    optimizer = ConvMuon(0.1, weight_decay=0.5, momentum=0.8, ns_steps=4)
    for gradient in (first, second):
        optimizer.apply([ops.convert_to_tensor(gradient, "float32")], [kernel])

    def step(ahead):
        left, values, right = np.linalg.svd(ahead.reshape(18, 5), full_matrices=False)
        unit = left * quintic(values / np.linalg.norm(ahead), 4) @ right
        return 0.1 * 0.2 * np.sqrt(18) * unit.reshape(KERNEL)

    expected = 0.95 * start - step(first + 0.8 * first)
    momentum = 0.8 * first + second
    expected = 0.95 * expected - step(second + 0.8 * momentum)
    np.testing.assert_allclose(numpy_of(kernel), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (5,), (4, 3), (2, 4, 3)])
def test_what_is_no_kernel_of_a_convolution_trains_by_adamw(rng, shape):
    start, *gradients = rng.normal(size=(4, *shape))
    found, expected = variable(start), variable(start)
    optimizers = {ConvMuon(0.1, 0.02): found, keras.optimizers.AdamW(0.1, 0.02): expected}
    for optimizer, weights in optimizers.items():
        for gradient in gradients:
            optimizer.apply([ops.convert_to_tensor(gradient, "float32")], [weights])
    np.testing.assert_array_equal(numpy_of(found), numpy_of(expected))


def test_steps_of_kernels_are_of_the_size_of_adams(rng):
    kernel = variable(np.zeros((3, 3, 16, 32)))
    gradient = ops.convert_to_tensor(rng.normal(size=kernel.shape), "float32")
    ConvMuon(1.0, weight_decay=0.0, ns_steps=5).apply([gradient], [kernel])
    assert np.sqrt(np.mean(numpy_of(kernel) ** 2)) == pytest.approx(0.2, rel=0.25)


def test_a_saved_model_keeps_its_momentum(rng, tmp_path):
    images, targets = rng.normal(size=(16, 6, 6, 1)), rng.normal(size=(16, 4, 4, 2))
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(2, 3)])
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 20)
    model.compile(ConvMuon(schedule, 0.03, momentum=0.7, ns_steps=2), "mse")
    model.fit(images, targets, verbose=0)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert restored.optimizer.get_config() == model.optimizer.get_config()
    for each in (model, restored):
        each.fit(images, targets, epochs=3, shuffle=False, verbose=0)
    for found, expected in zip(restored.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_momentum_out_of_range_is_refused(momentum):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        ConvMuon(momentum=momentum)


def test_no_iteration_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        ConvMuon(ns_steps=0)
