import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

import tfhash
from tfhash import data, experiments, metrics, models
from tfhash.codes import unpack
from tfhash.data import protocols, sources
from tfhash.data.sources import ArraySource
from tfhash.data.split import Split
from tfhash.experiments import baselines, estimate, presets, settings, validation
from tfhash.experiments.datasets import has_colors
from tfhash.experiments.fitting import partly_labeled_batches
from tfhash.experiments.progress import EpochLines, Progress
from tfhash.experiments.recipe import BACKBONES, Recipe
from tfhash.losses import ExponentiatedHashingLoss, class_centers

VARIANT = {"map_k": None, "denominator": "possible", "without_hits": "zero"}


def test_a_run_is_trained_and_opened_again_in_python(tmp_path, striped):
    run = tfhash.experiments.train(
        "digits",
        bits=9,
        output_dir=tmp_path,
        verbose=0,
        backbone="mlp",
        width=4,
        pretrain_epochs=0,
        finetune_epochs=1,
    )
    assert run.directory == tmp_path
    assert run.report == json.loads((tmp_path / "report.json").read_text())
    assert list(run.report["baselines"]) == ["untrained network"]
    opened = experiments.Run(tmp_path)
    images, _ = striped
    np.testing.assert_array_equal(opened.model.encode(images), run.model.encode(images))
    assert f"{run.report['metrics']['map']:.4f}" in str(opened)
    found = experiments.evaluate(tmp_path, "digits", verbose=0)
    assert found["metrics"] == run.report["metrics"]


def test_a_run_that_did_not_finish_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold a finished run"):
        experiments.Run(tmp_path)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"bit": 9}, TypeError, "no setting 'bit'. Did you mean 'bits'?"),
        ({"bits": 0}, ValueError, "`bits` must be 1 or more. Received: bits=0"),
        ({"bits": 9.5}, ValueError, "`bits` must be an integer"),
        ({"bits": True}, ValueError, "`bits` must be an integer"),
        ({"image_size": 224}, ValueError, "`image_size` must be 8 to 64 for the built-in"),
        ({"scale": float("nan")}, ValueError, "`scale` must be above 0, up to 40"),
        ({"optimizer": "sgd"}, ValueError, "`optimizer` must be one of adamw, muon"),
        ({"width": 0}, ValueError, "`width` must be 1 or more"),
        ({"recipe": "none"}, ValueError, "`recipe` must be one of simple, photographs"),
        ({"resume": True, "overwrite": True}, ValueError, "exclude each other"),
    ],
)
def test_wrong_settings_are_refused_before_data_is_read(given, error, message, tmp_path):
    with pytest.raises(error) as raised:
        experiments.train(tmp_path / "no" / "where", **given)
    assert message in str(raised.value)


def test_the_names_in_settings_are_those_of_the_library():
    assert set(BACKBONES) == set(models.BACKBONES)
    assert tuple(settings.PROTOCOLS) == tuple(protocols.PROTOCOLS)
    assert settings.Compared().baselines in settings.BASELINES
    assert tuple(settings.DENOMINATORS) == tuple(metrics.DENOMINATORS)
    assert tuple(settings.WITHOUT_HITS) == tuple(metrics.WITHOUT_HITS)
    assert settings.Training().scale == ExponentiatedHashingLoss().scale
    for side in (settings.SMALLEST_SIDE, settings.LARGEST_SIDE):
        models.build_backbone("mlp", (side, side, 1), 1)
    for side in (settings.SMALLEST_SIDE - 1, settings.LARGEST_SIDE + 1):
        with pytest.raises(ValueError, match="8 to 64"):
            models.build_backbone("mlp", (side, side, 1), 1)


class Oracle:
    """Predicts every class right, and gives all images one code."""

    bits, num_classes = 9, 10

    def predict_logits(self, images):
        return 9 * np.eye(10)[np.concatenate([labels for _, labels in images])]

    def encode(self, images):
        return np.zeros((sum(len(batch) for batch, _ in images), 2), "uint8")


def test_baselines_are_measured_like_any_codes():
    splits = data.load("digits")
    measured = baselines.Baselines(splits, {**VARIANT, "map_k": 20}, Progress(verbose=0))
    measured.add_untrained(Oracle())
    measured.add_classifier(Oracle(), 9, "after 1 of 2 epochs")
    measured.add_classifier(Oracle(), 3, "after 2 epochs", baselines.WHOLE_TRAINING)
    found = measured.found
    # Ten classes have no three bits each.
    assert {name: of["bits"] for name, of in found.items()} == {
        "untrained network": 9,
        "predicted class": 4,
        "softmax code": 9,
        "predicted class, whole training": 4,
    }
    for name, of in found.items():
        for figures in (of["metrics"], of["unseen_items"]["metrics"]):
            if name == "untrained network":
                # All items tie: the share of relevant ones, and a little for the first places.
                assert figures["map_at_20"] < 0.1 < figures["map"] < 0.13
            else:
                assert (figures["map"], figures["map_at_20"]) == pytest.approx((1, 1))
    assert found["softmax code"]["temperature"] == 1  # others are as good
    assert found["predicted class"]["accuracy"] == 1


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([1, 0, 2], 2 / 3), ([[0, 1, 1], [0, 0, 1], [0, 0, 0]], 1 / 3), ([[1], [0], [0]], 1)],
)
def test_a_predicted_class_is_right_if_it_is_a_label_of_the_item(labels, expected):
    logits = np.array([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0], [0.5, 0.0, 0.2]])
    assert baselines.accuracy_of(logits, np.array(labels)) == pytest.approx(expected)


def test_a_softmax_code_is_that_of_the_class_or_between_those_in_question(rng):
    codebook = class_centers(10, 12)
    logits = rng.normal(size=(50, 10))
    sure = baselines.softmax_codes(logits, codebook, 1e-3)
    np.testing.assert_array_equal(unpack(sure, 12), codebook[logits.argmax(axis=1)])
    odds = np.exp(logits / 3.0)
    means = odds / odds.sum(axis=1, keepdims=True) @ codebook
    found = unpack(baselines.softmax_codes(logits, codebook, 3.0), 12)
    np.testing.assert_array_equal(found, np.where(means >= 0, 1, -1))


def test_the_temperature_is_the_best_of_the_items_that_are_given(rng):
    labels = np.arange(200) % 10
    logits = 2 * np.eye(10)[labels] + rng.normal(size=(200, 10))
    codebook = class_centers(10, 12)
    chosen = baselines.choose_temperature(logits, labels, codebook)
    maps = {
        temperature: metrics.mean_average_precision(
            metrics.leave_one_out_histograms(
                baselines.softmax_codes(logits, codebook, temperature), labels, 12
            )
        )
        for temperature in baselines.TEMPERATURES
    }
    assert maps[chosen] == max(maps.values()) > min(maps.values())


def test_a_predicted_class_is_packed_as_a_number():
    codes = baselines.numbers_as_codes(np.array([0, 1, 2, 255, 256, 1000]), 10)
    assert codes.tolist() == [[0, 0], [1, 0], [2, 0], [255, 0], [0, 1], [232, 3]]


def test_an_untrained_network_has_the_statistics_of_the_sample(make_model, striped):
    model, images = make_model(backbone="convnet"), striped[0][:32]
    weights = model.get_weights()
    network = baselines.with_batch_statistics(model, images)
    np.testing.assert_equal(model.get_weights(), weights)
    # The codes are those of a training batch, in which every bit has images on both sides.
    as_a_batch = model.uncompiled_copy()(images, training=True)["codes"]
    np.testing.assert_allclose(network(images)["codes"], as_a_batch, rtol=1e-3, atol=1e-4)
    assert np.abs(model(images)["codes"] - as_a_batch).max() > 0.1
    assert network.hashing.standardization.momentum == model.hashing.standardization.momentum


def test_labels_that_training_must_not_see_are_not_handed_to_it(monkeypatch):
    monkeypatch.setattr(protocols, "QUERIES_OF_CLASS", 10)
    monkeypatch.setattr(protocols, "TRAINING_ITEMS_OF_CLASS", 40)
    splits = data.load("digits", protocol="cnnh")
    recipe = presets.make_recipe("simple", (8, 8, 1), 380)
    unlabeled = splits.unlabeled()
    batches = partly_labeled_batches(splits.train, unlabeled, recipe, seed=0)
    np.testing.assert_array_equal(batches.labels[:380], splits.train.labels)
    assert (batches.labels[380:] == -1).all()
    np.testing.assert_array_equal(batches.images[:380], splits.train.images())
    np.testing.assert_array_equal(batches.images[380:], unlabeled.images())


def test_gray_images_of_three_channels_are_told_from_colors(rng):
    gray = np.repeat(rng.integers(0, 256, (4, 8, 8, 1), "uint8"), 3, axis=-1)
    assert not has_colors(gray)
    assert not has_colors(gray // 2 + rng.integers(0, 8, gray.shape, "uint8"))  # tinted by JPEG
    assert not has_colors(gray[..., :1])
    assert has_colors(rng.integers(0, 256, (4, 8, 8, 3), "uint8"))


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_progress_prints_as_much_as_asked_for(verbose, make_model, striped, capsys):
    progress = Progress(verbose)
    images, labels = striped
    model = make_model()
    model.fit(images, labels, verbose=progress.verbose, callbacks=progress.callbacks(epochs=1))
    progress.encode_with(model.encode, images, len(images), "the images")
    printed = capsys.readouterr().out
    if verbose == 0:
        assert printed == ""
    elif verbose == 1:
        assert "Encoding the images" in printed
        assert "Epoch 1" in printed or "/step" in printed
    else:
        first, second = printed.splitlines()
        assert first.startswith("epoch 1/1: loss ")
        assert second.startswith("encoded the images: 64 images in ")


def test_lines_hide_what_repeats_the_loss(capsys):
    logs = {"stage": 1, "pretrain_accuracy": 0.5, "pretrain_loss": 2.0, "loss": 2.0}
    run_epochs(EpochLines(), 3, [logs])
    assert capsys.readouterr().out.startswith("epoch 1/3: loss 2.0000, accuracy 0.5000 (")


def run_epochs(lines, planned, logs_of_epochs):
    lines.set_params({"epochs": planned, "steps": 1, "verbose": 2})
    lines.set_model(SimpleNamespace(stop_training=False))
    lines.on_train_begin()
    for epoch, logs in enumerate(logs_of_epochs):
        lines.model.stop_training = epoch + 1 == planned
        lines.on_epoch_begin(epoch)
        lines.on_epoch_end(epoch, logs)


def test_the_last_epoch_of_a_stage_has_a_line(capsys):
    logs = [{"loss": float(e), "stage": int(e > 200)} for e in range(1, 251)]
    run_epochs(EpochLines(), 250, logs)
    lines = capsys.readouterr().out.splitlines()
    before, after = lines[66:68]
    assert before.startswith("epoch 200/250: loss 200.0000 (2 epochs in ")
    assert after.startswith("epoch 201/250: loss 201.0000 (")


@pytest.mark.parametrize(
    ("epochs", "validated", "lines"),
    [
        (100, (), range(1, 101)),
        (101, (), [*range(2, 101, 2), 101]),
        (500, (7, 10), sorted({7, *range(5, 501, 5)})),
    ],
)
def test_long_trainings_have_a_line_for_several_epochs_and_for_each_validation(
    epochs, validated, lines, capsys
):
    logs = [
        {"loss": 1.0, **({"val_map": 0.5} if e in validated else {})} for e in range(1, epochs + 1)
    ]
    run_epochs(EpochLines(), epochs, logs)
    printed = capsys.readouterr().out.splitlines()
    assert [int(re.match(rf"epoch (\d+)/{epochs}: ", line)[1]) for line in printed] == list(lines)
    # Each epoch counts once, in the line of its own or the next one.
    counts = [
        int(found[1]) if (found := re.search(r"\((\d+) epochs in ", line)) else 1
        for line in printed
    ]
    assert sum(counts) == epochs


def test_bars_of_many_epochs_become_lines():
    assert Progress(1).callbacks(epochs=100) == []
    assert [type(each) for each in Progress(1).callbacks(epochs=101)] == [EpochLines]
    assert [type(each) for each in Progress(2).callbacks(epochs=1)] == [EpochLines]
    assert Progress(0).callbacks(epochs=101) == []


@pytest.mark.parametrize(
    ("labels", "answered", "words"),
    [
        ([], 0, "no validation: of 0 images"),
        ([0, 1, 2], 0, "no validation: of 3 images"),
        ([0, 1, 0], 2, "val_map is of 2 validation images, .*: a rough figure"),
        (np.arange(120) % 12, 120, "val_map is of 120 validation images, .* each other$"),
    ],
)
def test_validation_rests_on_items_that_are_similar_to_another(labels, answered, words):
    labels = np.array(labels, int)
    images, names = np.zeros((len(labels), 8, 8, 1), "uint8"), [str(i) for i in range(len(labels))]
    source = ArraySource(images, names, labels)
    splits = SimpleNamespace(validation=Split.of_all(source, (8, 8, 1)))
    recipe = presets.make_recipe("simple", (8, 8, 1), 100)
    assert validation.count_answered(splits) == answered
    assert re.match(words, validation.in_words(splits))
    assert bool(validation.callbacks(recipe, splits)) == bool(answered)


@pytest.mark.parametrize(
    ("unfreeze_after", "words"), [(0, "steps\n"), (1, "steps, as if the back")]
)
def test_an_estimate_made_while_the_backbone_is_frozen_is_said_to_be(unfreeze_after, words, capsys):
    class Model:
        def encode(self, images):
            return images

    frozen = Recipe(unfreeze_after=unfreeze_after)
    estimate.say_time_besides_training(Model(), [0, 1], 1_000, frozen, 0, Progress(2))
    assert f"an estimate for training follows after its first {words}" in capsys.readouterr().out


@pytest.mark.parametrize("compared", ["quick", "full"])
@pytest.mark.parametrize("crop", [1.0, 0.5])
@pytest.mark.parametrize("room", [2**31, 0])
def test_files_to_decode_are_counted_each_time_that_they_are(
    photos, monkeypatch, room, crop, compared
):
    monkeypatch.setattr(sources, "MEMORY_BYTES", room)
    splits = data.load(photos)
    recipe = Recipe(pretrain_epochs=2, finetune_epochs=4, unaugmented_epochs=1, crop=crop)
    found = estimate.files_to_decode(splits, recipe, compared, 0)
    train = len(splits.train)
    assert found.files == 24
    assert found.at_two_sizes == (train if crop < 1 else 0)
    assert found.are_kept == bool(room)
    if room:  # each file once, and once more for larger images
        assert found.times == 24 + (train if crop < 1 else 0)
    else:
        trainings = 2 if compared == "full" else 1
        encoded = estimate.images_to_encode(splits, recipe, compared, 0)
        assert found.times == trainings * 6 * train + encoded


@pytest.mark.parametrize(
    ("decoding", "words"),
    [
        (estimate.Decoding(2_410, 0, 2_410, True), "to decode 2,410 files\n"),
        (estimate.Decoding(241, 176, 417, True), "to decode 241 files, 176 of them at two sizes\n"),
        (estimate.Decoding(241, 241, 482, True), "to decode 241 files, each at two sizes\n"),
        (estimate.Decoding(241, 176, 9_000, False), "to decode 241 files, 9,000 times in all: "),
    ],
)
def test_the_time_to_decode_files_is_said(photos, capsys, decoding, words):
    estimate.say_time_to_decode(data.load(photos).train, decoding, Progress(2))
    assert words in capsys.readouterr().out
