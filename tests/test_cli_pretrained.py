"""`tfhash train` from pre-trained weights, with frozen backbones, and by any loss."""

import json
import pathlib

import keras
import numpy as np
import pytest
from commands import QUICK, error_of
from interruption import Killed
from keras import layers
from PIL import Image

from tfhash import experiments, losses
from tfhash.callbacks.backup import Backup
from tfhash.cli import main
from tfhash.experiments import network, presets, recipe, settings, training
from tfhash.models import build_backbone

pytestmark = pytest.mark.usefixtures("without_pictures")

EPOCHS = ["--pretrain_epochs=2", "--finetune_epochs=2", "--batch_size=8"]


def report_of(directory):
    return json.loads((directory / "report.json").read_text())


def weights_of(directory):
    return keras.saving.load_model(directory / "model.keras").backbone.get_weights()


@pytest.fixture
def backbone(tmp_path):
    """A saved model of images of 8x12 pixels, and its weights."""
    keras.utils.set_random_seed(7)
    images = keras.Input((8, 12, 3))
    x = layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(images))
    x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.5)(x))
    model = keras.Model(images, layers.GlobalAveragePooling2D()(x))
    model.save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras", model.get_weights()


def same(weights, others):
    return [np.array_equal(a, b) for a, b in zip(weights, others, strict=True)]


def test_a_saved_model_is_trained_on_images_of_its_size_with_the_recipe_for_such_weights(
    tmp_path, make_folder, backbone, capsys
):
    path, before = backbone
    command = ["train", f"--dataset={make_folder()}", f"--backbone={path}", *EPOCHS]
    assert main([*command, f"--output_dir={tmp_path / 'run'}"]) == 0
    printed = capsys.readouterr().out
    assert "8x12x3; " in printed
    assert "Recipe pretrained (the weights are pre-trained): " in printed
    assert "Tip: these photos" not in printed
    report = report_of(tmp_path / "run")
    assert report["settings"]["backbone"] == str(path)
    assert report["settings"]["optimizer"] == "adamw"
    assert list(report["baselines"]) == ["untrained head", "predicted class", "softmax code"]
    assert "The backbone scales values from [0, 255] as it needs them." in report["preprocessing"]
    assert not any(same(before, weights_of(tmp_path / "run")))
    message = error_of(capsys, *command, "--image_size=8", f"--output_dir={tmp_path / 'other'}")
    assert "--image_size must be left out for a --backbone of 8x12 pixels" in message


def test_a_frozen_backbone_stays_and_the_heads_learn(tmp_path, make_folder, backbone):
    path, before = backbone
    command = ["train", f"--dataset={make_folder()}", f"--backbone={path}", "--freeze"]
    command += ["--finetune_epochs=40", "--batch_size=8", f"--output_dir={tmp_path / 'run'}"]
    assert main(command) == 0
    assert all(same(before, weights_of(tmp_path / "run")))
    report = report_of(tmp_path / "run")
    # Pre-training would be of no use.
    assert (report["settings"]["freeze"], report["settings"]["pretrain_epochs"]) == (True, 0)
    first, last = (report["epochs"][i]["loss"] for i in (0, -1))
    assert last < 0.9 * first
    assert report["metrics"]["map"] > report["baselines"]["untrained head"]["metrics"]["map"]


def test_a_run_killed_as_the_backbone_thaws_resumes_to_the_same_weights(
    tmp_path, make_folder, backbone, monkeypatch
):
    folder = make_folder(items=5)
    save = Backup.save

    def killed(self, model, state):
        if state["epochs_done"] > 3:
            raise Killed
        save(self, model, state)

    def train(name, *more):
        command = ["train", f"--dataset={folder}", f"--backbone={backbone[0]}", *EPOCHS]
        command += ["--unfreeze_after=3", f"--output_dir={tmp_path / name}", *more]
        assert main([*command, "--noflip_tta", "--batch_size=4"]) == 0
        return weights_of(tmp_path / name)

    whole = train("whole")
    assert not any(same(whole, backbone[1]))  # after all, the backbone trains
    monkeypatch.setattr(Backup, "save", killed)
    with pytest.raises(Killed):
        train("killed")
    monkeypatch.undo()
    for expected, found in zip(whole, train("killed", "--resume"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_paths_of_weights_hold_in_every_folder_and_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value, expected in (
        ("weights", "w.weights.h5", str(tmp_path / "w.weights.h5")),
        ("weights", "imagenet", "imagenet"),
        ("backbone", "mine.keras", str(tmp_path / "mine.keras")),
        ("backbone", pathlib.Path("mine.keras"), str(tmp_path / "mine.keras")),
        ("backbone", "VGG16", "VGG16"),
        ("labels", "labels.csv", str(tmp_path / "labels.csv")),
    ):
        assert settings.named("digits", {name: value})[name] == expected


def test_a_network_of_keras_applications_starts_from_a_file_of_weights(
    tmp_path, make_folder, capsys
):
    keras.utils.set_random_seed(7)
    source = build_backbone("MobileNetV3Small", (32, 32, 3))
    path = tmp_path / "source.weights.h5"
    source.save_weights(path)
    command = ["train", f"--dataset={make_folder()}", "--backbone=MobileNetV3Small", "--freeze"]
    command += [f"--weights={path}", "--image_size=32", "--bits=9", "--finetune_epochs=1"]
    command += ["--batch_size=8", "--noflip_tta", f"--output_dir={tmp_path / 'run'}"]
    assert main(command) == 0
    assert all(same(source.get_weights(), weights_of(tmp_path / "run")))
    assert report_of(tmp_path / "run")["recipe"]["preset"] == "pretrained"
    path.unlink()
    command[-1] = f"--output_dir={tmp_path / 'other'}"
    # Before any image is read.
    command[1] = "--dataset=no/where"
    assert "--weights must be an existing file" in error_of(capsys, *command)


def test_a_folder_trained_from_scratch_prints_a_tip_and_a_frozen_random_backbone_a_warning(
    tmp_path, make_folder, capsys
):
    command = ["train", f"--dataset={make_folder()}", "--image_size=8", "--backbone=mlp"]
    command += ["--width=2", "--freeze", "--finetune_epochs=1", "--batch_size=8"]
    assert main([*command, f"--output_dir={tmp_path / 'run'}"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Warning: The backbone has random weights and is frozen: the heads learn" in printed
    assert "Tip: these photos alone teach the network" in printed
    warnings = report_of(tmp_path / "run")["warnings"]
    assert any("random weights" in warning for warning in warnings)


def test_gray_images_of_three_channels_get_no_flips_and_no_tip(
    tmp_path, make_folder, backbone, monkeypatch, capsys
):
    def killed(*arguments):
        raise Killed

    monkeypatch.setattr(training, "fill_cache", killed)  # after the recipe is chosen
    folder = make_folder()
    for path in folder.rglob("*.png"):
        Image.open(path).convert("L").save(path)
    command = ["train", f"--dataset={folder}", "--baselines=none"]
    for name, flags in {
        "pretrained": [f"--backbone={backbone[0]}"],
        "simple": ["--image_size=8"],
    }.items():
        with pytest.raises(Killed):
            main([*command, *flags, f"--output_dir={tmp_path / name}"])
        printed = " ".join(capsys.readouterr().out.split())
        assert "x3; " in printed
        assert f"Recipe {name} (" in printed
        assert "flip=False" in printed
        assert "flip_tta=False" in printed
        assert "Tip: these photos" not in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--freeze", "--unfreeze_after=2"], "--freeze and --unfreeze_after exclude each other"),
        (["--backbone=MobilNetV3Small"], "Did you mean MobileNetV3Small?"),
        (["--backbone=mlp", "--weights=imagenet"], "--weights imagenet are for networks of keras"),
        (["--backbone=a.keras", "--weights=imagenet"], "in the file of --backbone already"),
        (["--backbone=VGG16", "--weights=vgg"], "must be imagenet, none or a path that ends in"),
        (["--backbone=VGG16", "--width=8"], "--width is for the built-in backbones"),
        (["--recipe=pretrained", "--weights=none"], "--weights imagenet or a file of weights"),
        (["--recipe=pretrained", "--backbone=mlp"], "--weights imagenet or a file of weights"),
        (["--backbone=mlp", "--image_size=65"], "--image_size must be 8 to 64 for the built-in"),
        (["--loss=dch", "--scale=2"], "--scale is that of the exponentiated loss"),
        (["--loss=hinge"], "--loss=hinge"),
    ],
)
def test_contradictions_are_refused_before_work_starts(capsys, flags, message):
    assert message in error_of(capsys, "train", "--dataset=no/where", *flags, status=2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--backbone=missing.keras"], "--backbone must be an existing file"),
        (["--backbone=VGG16", "--weights=missing.h5"], "--weights must be an existing file"),
        (["--backbone=Xception", "--image_size=70"], "must be 71 or more for Xception"),
    ],
)
def test_files_and_sizes_are_checked_before_images_are_read(capsys, flags, message):
    assert message in error_of(capsys, "train", "--dataset=no/where", *flags)


def test_images_of_one_size_that_is_too_small_are_refused(tmp_path, capsys):
    command = ["train", "--dataset=digits", "--backbone=MobileNetV3Small", "--weights=none"]
    message = error_of(capsys, *command, f"--output_dir={tmp_path / 'run'}")
    assert "must be 32 or more for MobileNetV3Small" in message
    assert "Received: images of 8 x 8 pixels" in message


def test_a_backbone_that_never_thaws_is_refused(tmp_path, capsys):
    command = ["train", *QUICK, "--pretrain_epochs=1", "--finetune_epochs=2", "--unfreeze_after=3"]
    message = error_of(capsys, *command, f"--output_dir={tmp_path / 'run'}")
    assert "must be less than the epochs of both stages" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "name", "expected"),
    [
        ({}, None, {}),
        ({"weights": "imagenet"}, None, {"backbone": "MobileNetV3Small", "weights": "imagenet"}),
        ({}, "pretrained", {"backbone": "MobileNetV3Small", "weights": "imagenet"}),
        ({"backbone": "VGG16", "weights": "none"}, None, {"backbone": "VGG16", "weights": "none"}),
        ({"backbone": "VGG16", "flip": None}, None, {"backbone": "VGG16", "weights": "imagenet"}),
        ({"backbone": "a.keras"}, "pretrained", {"backbone": "a.keras"}),
        ({"backbone": "mlp"}, None, {"backbone": "mlp"}),
    ],
)
def test_backbone_and_weights_imply_each_other(given, name, expected):
    assert presets.with_weights(given, name) == expected


def test_the_recipe_for_pretrained_weights_takes_small_steps_and_flips_images_in_color_alone():
    assert presets.choose_preset((224, 224, 3), is_pretrained=True) == (
        "pretrained",
        "the weights are pre-trained",
    )
    chosen = presets.make_recipe("pretrained", (224, 224, 3), 200)
    scratch = presets.make_recipe("photographs", (64, 64, 3), 200)
    assert (chosen.flip, chosen.optimizer) == (True, "adamw")
    assert chosen.finetune_learning_rate < scratch.finetune_learning_rate
    assert chosen.epochs() < scratch.epochs()
    assert presets.make_recipe("pretrained", (224, 224, 3), 100_000).epochs() == 6
    for gray in (
        {"image_shape": (224, 224, 1)},
        {"image_shape": (224, 224, 3), "has_colors": False},
    ):
        recipe_of_gray = presets.make_recipe("pretrained", items=200, **gray)
        assert (recipe_of_gray.flip, recipe_of_gray.flip_tta) == (False, False)
    of_file = presets.make_recipe("pretrained", (64, 64, 3), 200, backbone="mine.keras")
    assert (of_file.weights, of_file.width, of_file.is_pretrained()) == ("none", None, True)
    plain = presets.make_recipe(
        "photographs", (64, 64, 3), 200, backbone="MobileNetV2", weights="none"
    )
    assert (plain.optimizer, plain.width, plain.is_pretrained()) == ("adamw", None, False)


LOSS_CLASSES = {
    "exponentiated": losses.ExponentiatedHashingLoss,
    "dpsh": losses.DPSHLoss,
    "hashnet": losses.HashNetLoss,
    "dch": losses.DCHLoss,
    "dtsh": losses.DTSHLoss,
    "csq": losses.CSQLoss,
    "orthohash": losses.OrthoHashLoss,
    "greedyhash": losses.GreedyHashLoss,
}


def test_every_loss_has_a_name():
    assert set(network.LOSSES) == set(recipe.LOSSES) == set(LOSS_CLASSES)
    for name, make in network.LOSSES.items():
        assert type(make(10, 9, 3.0)) is LOSS_CLASSES[name]
    assert network.LOSSES["exponentiated"](10, 9, 3.0).scale == 3.0
    csq = network.LOSSES["csq"](10, 9, 3.0)
    assert (csq.num_classes, csq.bits) == (10, 9)


def test_a_loss_is_chosen_by_name_and_recorded(tmp_path, capsys):
    command = ["train", *QUICK, "--loss=hashnet", "--pretrain_epochs=0", "--finetune_epochs=3"]
    assert main([*command, f"--output_dir={tmp_path / 'run'}"]) == 0
    assert "loss=hashnet" in capsys.readouterr().out
    for name in ("run", "report"):
        settings = json.loads((tmp_path / "run" / f"{name}.json").read_text())["settings"]
        assert (settings["loss"], settings["slope"]) == ("hashnet", 1.0)
    sharpness = [logs["sharpness"] for logs in report_of(tmp_path / "run")["epochs"]]
    assert sharpness == pytest.approx([1.0, 10**0.5, 10.0])


class OwnLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return losses.DPSHLoss()(y_true, y_pred) + 100


def test_a_loss_of_ones_own_trains_and_the_run_records_its_name(tmp_path):
    given = {"backbone": "mlp", "width": 2, "pretrain_epochs": 0, "finetune_epochs": 1}
    run = experiments.train(
        "digits", output_dir=tmp_path, verbose=0, hashing_loss=OwnLoss(), **given
    )
    assert run.report["settings"]["loss"] == "OwnLoss"
    assert run.report["epochs"][0]["loss"] > 100
    with pytest.raises(ValueError, match="`hashing_loss` excludes the settings `loss` and `scale`"):
        experiments.train("digits", hashing_loss=OwnLoss(), loss="csq")
    with pytest.raises(TypeError, match="must be a keras.losses.Loss"):
        experiments.train("digits", hashing_loss="csq")
