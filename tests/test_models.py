import keras
import numpy as np
import pytest
from keras import layers, ops

from tfhash import codes
from tfhash.callbacks import TwoStageTraining
from tfhash.labels import similar
from tfhash.models import HashingModel, build_backbone, fingerprint


def numpy_weights(part):
    return [ops.convert_to_numpy(w) for w in part.weights]


def moved(before, part):
    return any((a != b).any() for a, b in zip(before, numpy_weights(part)))


def test_predict_gives_relaxed_codes_and_encode_packs_them(make_model, striped):
    model = make_model(bits=11)
    relaxed = model.predict(striped[0], verbose=0)
    assert relaxed.shape == (64, 11)
    assert np.abs(relaxed).max() <= 1
    expected = ops.convert_to_numpy(codes.pack(relaxed))
    np.testing.assert_array_equal(model.encode(striped[0]), expected)


def test_a_copy_keeps_the_multipliers_and_the_slope_of_the_heads(rng):
    model = HashingModel(
        build_backbone("mlp", (8, 8, 1), 4),
        9,
        3,
        head_lr_multiplier=5.0,
        slope=0.5,
        classifier_lr_multiplier=7.0,
    )
    model.build((None, 8, 8, 1))
    images = rng.integers(0, 256, (20, 8, 8, 1), "uint8")
    model(images, training=True)  # statistics other than those at the start
    copy = model.uncompiled_copy()
    for before, after in zip(*(each(images).values() for each in (model, copy))):
        np.testing.assert_allclose(*map(ops.convert_to_numpy, (after, before)), rtol=1e-6)
    assert copy.classifier.lr_multiplier == 7.0


def test_the_fingerprint_stays_in_files_and_tells_weights_and_settings_apart(make_model, tmp_path):
    model = make_model(bits=9)
    first = fingerprint(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.encode(np.zeros((2, 8, 8, 1), "uint8"))
    assert fingerprint(loaded) == first
    assert fingerprint(make_model(bits=9, seed=1)) != first
    flipping = HashingModel(loaded.backbone, 9, 2, flip_tta=True)
    flipping.build((None, 8, 8, 1))
    flipping.set_weights(loaded.get_weights())
    assert fingerprint(flipping) != first
    variable = loaded.weights[-1]
    variable.assign(ops.convert_to_numpy(variable) + np.float32(1e-6))
    assert fingerprint(loaded) != first


@pytest.fixture
def flipping(rng):
    """A model with flip_tta, one without with the same weights, and images."""
    keras.utils.set_random_seed(0)
    models = [
        HashingModel(build_backbone("convnet", (8, 8, 1), 4), 9, 3, flip_tta=flip_tta)
        for flip_tta in (True, False)
    ]
    for model in models:
        model.build((None, 8, 8, 1))
    models[1].set_weights(models[0].get_weights())
    return *models, rng.integers(0, 256, (6, 8, 8, 1)).astype("uint8")


def test_flip_tta_gives_an_image_and_its_mirror_image_one_code(flipping):
    model, plain, images = flipping
    flipped = images[:, :, ::-1]
    for outputs in ("codes", "logits"):
        sides = [ops.convert_to_numpy(model(side)[outputs]) for side in (images, flipped)]
        np.testing.assert_allclose(sides[0], sides[1], rtol=1e-5, atol=1e-6)
    logits = [ops.convert_to_numpy(plain(side)["logits"]) for side in (images, flipped)]
    assert np.abs(logits[0] - logits[1]).max() > 1e-3
    mean = ops.convert_to_numpy(model(images)["logits"])
    np.testing.assert_allclose(mean, (logits[0] + logits[1]) / 2, rtol=1e-4, atol=1e-6)


def test_flip_tta_does_not_apply_in_training(flipping):
    model, plain, images = flipping
    trained, expected = (
        ops.convert_to_numpy(each(images, training=True)["codes"]) for each in (model, plain)
    )
    np.testing.assert_allclose(trained, expected, rtol=1e-5, atol=1e-6)


def test_flip_tta_applies_to_classes_and_is_restored(flipping):
    model, _, images = flipping
    expected = np.argmax(ops.convert_to_numpy(model(images)["logits"]), axis=1)
    np.testing.assert_array_equal(model.classify(images), expected)
    copy = model.uncompiled_copy()
    assert copy.flip_tta
    np.testing.assert_array_equal(copy.encode(images), model.encode(images))


def test_fit_learns_codes_that_separate_two_classes(make_model, striped):
    model = make_model(bits=8)
    model.fit(*striped, epochs=30, verbose=0)
    relaxed = model.predict(striped[0], verbose=0)
    first, second = (np.sign(relaxed[striped[1] == label]) for label in (0, 1))
    # Every pair across the classes is farther apart than every pair within one.
    assert (first @ second.T).max() < min((first @ first.T).min(), (second @ second.T).min())


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_images_of_any_type_with_values_0_to_255_give_the_same_codes(make_model, striped, dtype):
    model = make_model()
    np.testing.assert_array_equal(model.encode(striped[0].astype(dtype)), model.encode(striped[0]))
    np.testing.assert_array_equal(model.encode(striped[0][..., 0]), model.encode(striped[0]))


def test_classify_gives_the_classes_of_the_largest_logits(make_model, striped):
    images, labels = striped
    model = make_model()
    model.begin_stage("pretrain")
    model.fit(images, labels, epochs=20, verbose=0)
    predicted = model.classify(images)
    assert predicted.shape == (64,)
    assert (predicted == labels).mean() > 0.9
    assert model.classify(images[:0]).shape == (0,)


@pytest.mark.parametrize("count", [0, 1, 257])
def test_encode_takes_any_number_of_images(make_model, count):
    assert make_model(bits=9).encode(np.zeros((count, 8, 8, 1), "uint8")).shape == (count, 2)


def test_saved_model_gives_the_same_codes_bit_for_bit(make_model, striped, tmp_path):
    model = make_model(backbone="convnet")
    model.fit(*striped, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(
        restored.predict(striped[0], verbose=0), model.predict(striped[0], verbose=0)
    )
    np.testing.assert_array_equal(restored.encode(striped[0]), model.encode(striped[0]))
    # Training continues from there.
    assert restored.optimizer.iterations == model.optimizer.iterations
    restored.fit(*striped, verbose=0)


def test_pretrain_moves_backbone_and_classifier_alone(make_model, striped):
    model = make_model(optimizer=keras.optimizers.AdamW(1e-2, weight_decay=0.1))
    model.begin_stage("pretrain")
    before = {p: numpy_weights(getattr(model, p)) for p in ("backbone", "classifier", "hashing")}
    model.fit(*striped, epochs=2, verbose=0)
    assert moved(before["backbone"], model.backbone)
    assert moved(before["classifier"], model.classifier)
    assert not moved(before["hashing"], model.hashing)


def test_finetune_moves_backbone_and_hashing_head_alone(make_model, striped):
    model = make_model(optimizer=keras.optimizers.AdamW(1e-2, weight_decay=0.1))
    model.begin_stage("pretrain")
    model.fit(*striped, epochs=2, verbose=0)  # momentum that must not carry over
    model.begin_stage("finetune")
    before = {p: numpy_weights(getattr(model, p)) for p in ("backbone", "classifier", "hashing")}
    model.fit(*striped, epochs=2, verbose=0)
    assert moved(before["backbone"], model.backbone)
    assert not moved(before["classifier"], model.classifier)
    assert moved(before["hashing"], model.hashing)


def test_a_frozen_backbone_keeps_weights_and_statistics_and_thaws_as_it_was(make_model, striped):
    model = make_model(backbone="convnet")
    model.backbone.layers[1].trainable = False  # a choice of the user
    flags = [layer.trainable for layer in model.backbone.layers]
    model.begin_stage("finetune", freeze_backbone=True)
    before = numpy_weights(model.backbone)
    model.fit(*striped, verbose=0)
    assert not moved(before, model.backbone)
    model.begin_stage("pretrain")
    assert [layer.trainable for layer in model.backbone.layers] == flags


def test_a_stage_begins_with_a_fresh_optimizer_and_its_own_rate(make_model, striped):
    model = make_model(optimizer=keras.optimizers.SGD(0.5, momentum=0.9))
    model.fit(*striped, verbose=0)
    model.begin_stage("pretrain", learning_rate=0.125)
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    assert model.optimizer.momentum == 0.9
    assert int(model.optimizer.iterations) == 0
    assert float(model.optimizer.learning_rate) == 0.125
    model.begin_stage("finetune")
    assert float(model.optimizer.learning_rate) == 0.5


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_trains_in_mixed_precision(striped, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = HashingModel(build_backbone("mlp", (8, 8, 1), width=4), 12, 2)
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(*striped, verbose=0)
        model.begin_stage("pretrain", learning_rate=1e-3)
        losses = model.fit(*striped, epochs=2, verbose=0).history["loss"]
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(losses).all()
    assert model.predict(striped[0], verbose=0).dtype == np.float32


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_a_saved_model_continues_in_its_stage(make_model, striped, tmp_path, stage):
    model = make_model(bits=3, num_classes=2)
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, 100)
    model.begin_stage(stage, learning_rate=schedule, freeze_backbone=stage == "finetune")
    model.fit(*striped, verbose=0)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert restored.stage == stage
    for expected, found in zip(model.optimizer.variables, restored.optimizer.variables):
        np.testing.assert_array_equal(ops.convert_to_numpy(found), ops.convert_to_numpy(expected))
    restored.begin_stage("pretrain")
    assert restored.backbone.trainable_variables


def test_multi_hot_labels_train_both_stages(make_model, striped):
    images, labels = striped
    multi_hot = np.eye(3)[labels] + np.eye(3)[2]
    model = make_model(num_classes=3)
    for stage in ("pretrain", "finetune"):
        model.begin_stage(stage)
        assert np.isfinite(model.fit(images, multi_hot, verbose=0).history["loss"]).all()


class SharedLabelLoss(keras.losses.Loss):
    """Brings the inner product of two codes to 1 where they share a label, and to -1 elsewhere."""

    def call(self, y_true, y_pred):
        wanted = ops.where(similar(y_true, y_true), 1.0, -1.0)
        products = ops.matmul(y_pred, ops.transpose(y_pred)) / y_pred.shape[1]
        return ops.mean((products - wanted) ** 2, axis=1)


def test_a_loss_of_ones_own_learns_from_multi_hot_labels(make_model, rng):
    # Each of four labels brightens a quarter of the image.
    marks = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]])[np.arange(64) % 4]
    bright = np.kron(marks.reshape(64, 2, 2), np.ones((4, 4)))
    images = (180 * bright + rng.integers(0, 50, (64, 8, 8)))[..., None].astype("uint8")
    model = make_model(num_classes=4, hashing_loss=SharedLabelLoss())
    model.fit(images, marks, batch_size=32, epochs=20, verbose=0)
    relaxed = model.predict(images, verbose=0)
    products, share = relaxed @ relaxed.T / 12, marks @ marks.T > 0
    assert products[share].mean() > 0.8
    assert products[~share].mean() < -0.4


def test_any_keras_backbone_works(rng):
    images, labels = rng.integers(0, 256, (8, 32, 32, 1), "uint8"), np.arange(8) % 2
    of_any_channels = [layers.Conv2D(4, 3), layers.GlobalMaxPooling2D()]
    of_rgb = [keras.Input((32, 32, 3)), layers.Conv2D(4, 3), layers.Flatten()]
    for backbone in map(keras.Sequential, (of_any_channels, of_rgb)):  # given gray images
        model = HashingModel(backbone, 16, 2)
        model.compile()
        model.fit(images, labels, verbose=0)
        assert model.encode(images).shape == (8, 2)


class Batches(keras.utils.PyDataset):
    def __init__(self, images, labels):
        super().__init__()
        self.data = images, labels

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.data


class Unregistered(layers.Layer):
    """A layer that Keras cannot load again by itself."""

    def call(self, inputs):
        return inputs


def test_a_backbone_need_not_be_one_that_can_be_saved(striped):
    images, labels = striped
    backbone = keras.Sequential([keras.Input(images.shape[1:]), Unregistered(), layers.Flatten()])
    model = HashingModel(backbone, bits=5, num_classes=2)
    model.compile("adam")
    model.fit(images, labels, epochs=2, verbose=0, callbacks=[TwoStageTraining(1)])
    assert model.encode(images).shape == (len(images), 1)


@pytest.mark.parametrize("kind", ["arrays", "PyDataset", "tf.data"])
def test_fit_builds_the_model_before_a_stage_begins(striped, kind):
    model = HashingModel(build_backbone("mlp", (8, 8, 1), width=4), 8, 2)
    model.compile()
    data = {"arrays": striped, "PyDataset": (Batches(*striped),)}.get(kind)
    if data is None:
        tf = pytest.importorskip("tensorflow")
        data = (tf.data.Dataset.from_tensor_slices(striped).batch(16),)
    history = model.fit(*data, epochs=2, verbose=0, callbacks=[TwoStageTraining(1)])
    assert history.history["stage"] == [1, 2]
    assert model.image_shape == (8, 8, 1)


def test_preprocessing_of_the_users_choice_is_saved(striped, tmp_path):
    model = HashingModel(build_backbone("mlp", (8, 8, 1)), 8, 2, keras.layers.Rescaling(1 / 255))
    expected = model.encode(striped[0])
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(restored.preprocessing, keras.layers.Rescaling)
    np.testing.assert_array_equal(restored.encode(striped[0]), expected)


def test_bits_and_classes_out_of_range_are_refused():
    backbone = build_backbone("mlp", (8, 8, 1))
    with pytest.raises(ValueError, match="`bits` must be an integer >= 1. Received: bits=0"):
        HashingModel(backbone, 0, 2)
    with pytest.raises(ValueError, match="`num_classes` must be an integer >= 2"):
        HashingModel(backbone, 8, 1)


def test_labels_that_do_not_fit_are_refused(make_model, striped):
    with pytest.raises(ValueError, match=r"shape \[n, 2\] for num_classes=2"):
        make_model().fit(striped[0], np.zeros((64, 5)), verbose=0)
    with pytest.raises(ValueError, match="integer labels must be in 0 to 1 .* from 0 to 2"):
        make_model().fit(striped[0], np.arange(64) % 3, verbose=0)
    with pytest.raises(ValueError, match="need labels"):
        make_model().fit(striped[0], verbose=0)
    with pytest.raises(ValueError, match="cardinality"):
        make_model().fit(striped[0], striped[1][:-1], verbose=0)


def test_encode_names_the_image_with_nan(make_model, striped):
    images = striped[0].astype("float32")
    images[5, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="1 images with codes that are not finite, .* index 5"):
        make_model().encode(images)


def test_an_unknown_stage_and_an_unbuilt_model_are_refused(make_model):
    with pytest.raises(ValueError, match="`stage` must be one of"):
        make_model().begin_stage("warmup")
    with pytest.raises(ValueError, match="compile and build"):
        HashingModel(keras.Sequential([layers.Flatten()]), 8, 2).begin_stage("pretrain")


def test_adapt_whitens_what_the_preprocessing_gives(rng):
    model = HashingModel(build_backbone("whitenet", (8, 8, 3), width=2), bits=4, num_classes=2)
    model.build((None, 8, 8, 3))
    images = rng.integers(0, 100, (200, 8, 8, 3), "uint8")
    model.adapt(images)
    whitening = model.backbone.get_layer("whitening")
    outputs = ops.convert_to_numpy(whitening(model.preprocessing(images)))
    np.testing.assert_allclose(outputs.std(axis=(0, 1, 2)), 1, atol=0.1)


def test_adapt_leaves_other_backbones_as_they_are(make_model, striped):
    model = make_model()
    before = numpy_weights(model)
    model.adapt(striped[0])
    assert not moved(before, model)


def test_no_bit_is_the_same_for_all_where_features_are_positive(rng):
    labels = np.arange(320) % 10
    images = rng.normal(size=(10, 8, 8, 1))[labels] + rng.normal(size=(320, 8, 8, 1))
    images = (127 + 40 * images).clip(0, 255).astype("uint8")
    backbone = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(512, "sigmoid")]
    )
    model = HashingModel(backbone, bits=48, num_classes=10)
    model.build((None, 8, 8, 1))
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(images, labels, batch_size=64, epochs=10, verbose=0)
    share = (model.predict(images, verbose=0) >= 0).mean(axis=0)
    assert ((share > 0.02) & (share < 0.98)).all()


@pytest.mark.parametrize("multi_hot", [False, True])
def test_pretraining_takes_the_smoothed_crossentropy_of_keras(make_model, striped, multi_hot):
    images, labels = striped
    smooth = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)
    model = make_model(num_classes=3, classification_loss=smooth)
    model.begin_stage("pretrain")
    marks = np.eye(3)[labels] + (np.eye(3)[2] if multi_hot else 0)
    shares = marks / marks.sum(axis=1, keepdims=True)
    log_softmax = np.asarray(ops.log_softmax(model.predict_logits(images)))
    expected = -np.mean(np.sum((0.8 * shares + 0.2 / 3) * log_softmax, axis=1))
    y = marks if multi_hot else labels
    assert model.evaluate(images, y, verbose=0)[0] == pytest.approx(expected, rel=1e-4)
