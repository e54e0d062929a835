"""Labels, weights and codes at the edges of what losses take: each has a meaning or is refused."""

import keras
import numpy as np
import pytest
from keras import ops
from test_every_loss import BITS, CLASSES, EVERY_LOSS, as_numpy, values_of

from tfhash import losses
from tfhash.callbacks import TwoStageTraining
from tfhash.models import HashingModel, build_backbone

of_every_loss = pytest.mark.parametrize("loss", EVERY_LOSS, ids=lambda loss: loss.name)
of_every_pair_loss = pytest.mark.parametrize("loss", EVERY_LOSS[:5], ids=lambda loss: loss.name)


@pytest.fixture
def codes(rng):
    return rng.uniform(-1, 1, (4, BITS)).astype("float32")


@of_every_pair_loss
@pytest.mark.parametrize("large", [2**24, 2**40])
def test_large_labels_are_told_apart(loss, codes, large):
    expected = values_of(loss, np.array([0, 1, 0, 2]), codes)
    found = values_of(loss, np.array([large, large + 1, large, 7]), codes)
    np.testing.assert_array_equal(found, expected)
    assert not np.allclose(expected, values_of(loss, np.array([0, 0, 0, 2]), codes))


@of_every_pair_loss
def test_large_labels_are_told_apart_in_a_training_step(loss, codes):
    def fitted_loss(labels):
        model = keras.Sequential([keras.Input((BITS,)), keras.layers.Identity()])
        model.compile(loss=loss)
        return model.evaluate(codes, labels, verbose=0)

    expected = fitted_loss(np.array([0, 1, 0, 2]))
    assert fitted_loss(np.array([2**24, 2**24 + 1, 2**24, 7])) == expected


@of_every_loss
def test_an_item_of_weight_0_takes_no_part(loss, codes):
    labels = np.array([0, 1, 0, 0])
    weights = np.array([1.0, 2.0, 0.0, 0.5], "float32")
    rest = np.array([0, 1, 3])
    expected = (values_of(loss, labels[rest], codes[rest]) * weights[rest]).sum()
    for shape in ((4,), (4, 1)):
        found = loss(labels, codes, sample_weight=weights.reshape(shape))
        assert float(found) * 4 == pytest.approx(expected, rel=1e-5)
    # Whatever it is.
    moved = codes.copy()
    moved[2] = -codes[2]
    moved_loss = loss(np.array([0, 1, 1, 0]), moved, sample_weight=weights)
    assert float(moved_loss) * 4 == pytest.approx(expected, rel=1e-5)


@of_every_loss
def test_one_weight_for_all_weighs_all(loss, codes):
    labels = np.array([0, 1, 0, 0])
    expected = 3 * float(loss(labels, codes))
    assert float(loss(labels, codes, sample_weight=3.0)) == pytest.approx(expected, rel=1e-5)


@of_every_loss
@pytest.mark.parametrize("value", [0.3, np.nan])
def test_mixed_labels_are_refused_or_make_the_loss_nan(loss, codes, value):
    labels = np.eye(CLASSES)[[0, 1, 0, 2]].astype("float32")
    labels[1, 3] = value
    with pytest.raises(ValueError, match="must be (0 or 1|numbers)"):
        loss(labels, codes)
    config = {**loss.get_config(), "reduction": None}
    values = type(loss).from_config(config)(ops.convert_to_tensor(labels), codes)
    assert np.isnan(as_numpy(values)[1])
    if loss in EVERY_LOSS[:5]:
        weights = np.array([1, 0, 1, 1], "float32")
        assert np.isfinite(float(loss(ops.convert_to_tensor(labels), codes, weights)))


@of_every_loss
def test_values_of_codes_outside_the_cube_are_finite_and_no_less_than_inside(loss, gradient):
    labels, signs = np.array([0, 0, 1, 1]), np.ones((4, BITS), "float32")
    signs[1::2, ::2] = -1
    inside, outside = (float(loss(labels, factor * signs)) for factor in (1, 3))
    assert np.isfinite(outside)
    assert np.isfinite(gradient(lambda point: loss(labels, point), 3 * signs)).all()
    if isinstance(loss, (losses.ExponentiatedHashingLoss, losses.CSQLoss, losses.GreedyHashLoss)):
        assert outside >= inside > 0


def test_a_value_outside_the_cube_counts_and_is_pulled_as_the_nearest_inside(gradient, codes):
    loss, labels = losses.ExponentiatedHashingLoss(), np.array([0, 1, 0, 1])
    far = codes.copy()
    far[:, 0], codes[:, 0] = [1e8, -7, 2, -1], [1, -1, 1, -1]
    assert float(loss(labels, far)) == float(loss(labels, codes))
    gradients = [gradient(lambda point: loss(labels, point), point) for point in (far, codes)]
    np.testing.assert_array_equal(*gradients)
    assert np.abs(gradients[0][:, 0]).min() > 0


@pytest.fixture
def model():
    return HashingModel(build_backbone("mlp", (8, 8, 1), width=2), bits=BITS, num_classes=CLASSES)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hashing_loss": "mse"}, "`hashing_loss` must be a keras.losses.Loss of labels and codes"),
        ({"hashing_loss": lambda labels, codes: 0.0}, "`hashing_loss` must be a keras.losses.Loss"),
        ({"hashing_loss": losses.DPSHLoss}, "`hashing_loss` must be a keras.losses.Loss"),
        ({"classification_loss": "mse"}, "`classification_loss` must be .* labels and logits"),
        ({"loss": "mse"}, "no argument 'loss'. Pass `hashing_loss` for fine-tuning"),
        ({"metrics": ["accuracy"]}, "no argument 'metrics'. .*RetrievalEvaluation"),
        ({"los": "mse"}, "no argument 'los'$"),
    ],
)
def test_what_the_stages_cannot_train_by_is_refused_when_compiling(model, given, message):
    with pytest.raises(TypeError, match=message):
        model.compile("adam", **given)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((8, CLASSES), 0.25), "must be 0 or 1"),
        (np.full(8, np.nan), "must be numbers"),
        (np.full(8, 0.5), "integer labels must be in 0 to 3"),
    ],
)
def test_labels_that_say_nothing_are_refused_before_training(model, labels, message):
    model.compile("adam")
    with pytest.raises(ValueError, match=message):
        model.fit(np.zeros((8, 8, 8, 1), "uint8"), labels, verbose=0)


@pytest.mark.parametrize("pretrain_epochs", [0, 1])
def test_mixed_labels_of_a_dataset_end_the_training(model, pretrain_epochs):
    class Mixed(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return np.zeros((8, 8, 8, 1), "uint8"), np.full((8, CLASSES), 0.25, "float32")

    model.compile("adam", classification_loss=keras.losses.CategoricalCrossentropy())
    stages = TwoStageTraining(pretrain_epochs)
    with pytest.raises(FloatingPointError, match="labels that no class has or that are mixed"):
        model.fit(Mixed(), epochs=2, verbose=0, callbacks=[stages])
