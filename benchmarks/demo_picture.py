"""Draws docs/pictures/demo.png: the page of `tfhash demo` in a browser.

Trains a small model on a part of CIFAR-10's training images, indexes a part of its test images beside
copies of some of them in other sizes and qualities, and drops one more test image on the page.

    python benchmarks/demo_picture.py --data_dir=../shared/datasets

Needs `pip install -e '.[test]'` and Chromium.
"""

import pathlib
import shutil
import tempfile

import keras
import numpy as np
import tensorflow_datasets as tfds
from absl import app, flags
from PIL import Image
from playwright.sync_api import sync_playwright

from tfhash import experiments, files
from tfhash.callbacks import TwoStageTraining
from tfhash.models import HashingModel, build_backbone

FLAGS = flags.FLAGS
flags.DEFINE_string("data_dir", None, "Where tensorflow-datasets keeps prepared data.")
flags.DEFINE_list("classes", ["airplane", "automobile", "frog", "horse"], "Classes to show.")
flags.DEFINE_integer("training_items", 4000, "Images that the model is trained on.")
flags.DEFINE_integer("indexed", 400, "Images in the index, copies aside.")
flags.DEFINE_integer("copies", 8, "Images with two copies each.")
flags.DEFINE_integer("epochs", 6, "Epochs, all but the last of them pre-training.")
flags.DEFINE_string("chromium", None, "Path of the browser; by default it is looked for.")
flags.DEFINE_enum("theme", "light", ["light", "dark"], "Theme of the page.")
flags.DEFINE_string("output", "docs/pictures/demo.png", "Picture to write.")

BITS, SIDE = 64, 96

# In the order of the labels: a prepared copy may not hold them.
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def main(_):
    keras.utils.set_random_seed(0)
    model = train(*load("train", FLAGS.training_items))
    images, labels = load("test", FLAGS.indexed + 1)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        query = write_photos(folder, images, labels)
        model.save(folder / "model.keras")
        experiments.index_images(
            folder / "photos", model, folder / "photos.index", model_path=folder / "model.keras"
        )
        with (
            experiments.demo(folder / "photos.index") as demo,
            files.atomic_write(FLAGS.output) as path,
        ):
            draw(demo.url, query, path)
            # A third of the bytes.
            with Image.open(path) as drawn:
                drawn.convert("RGB").quantize(256).save(path, optimize=True)
    print(f"drew {FLAGS.output}, {pathlib.Path(FLAGS.output).stat().st_size / 1000:.0f} kB")


def load(split, count):
    """The first images of the classes, and their labels."""
    dataset = tfds.load(
        "cifar10",
        split=split,
        data_dir=FLAGS.data_dir,
        download=False,
        batch_size=-1,
    )
    numbers = sorted(map(NAMES.index, FLAGS.classes))
    labels = dataset["label"].numpy()
    chosen = np.flatnonzero(np.isin(labels, numbers))[:count]
    return dataset["image"].numpy()[chosen], np.searchsorted(numbers, labels[chosen])


def train(images, labels):
    backbone = build_backbone("convnet", images.shape[1:], width=16)
    model = HashingModel(backbone, BITS, len(FLAGS.classes))
    model.compile(optimizer="adam")
    stages = TwoStageTraining(pretrain_epochs=FLAGS.epochs - 1)
    model.fit(images, labels, batch_size=64, epochs=FLAGS.epochs, callbacks=[stages], verbose=2)
    return model


def write_photos(folder, images, labels):
    """Writes photos and copies of some; returns the path of one that is not among them."""
    names = sorted(FLAGS.classes, key=NAMES.index)
    for number, (image, label) in enumerate(zip(images, labels)):
        path = folder / "photos" / names[label] / f"{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        photo.save(path, quality=92)
        if number < FLAGS.copies:
            photo.resize((SIDE // 2, SIDE // 2)).save(path.with_name(f"{number:03} small.png"))
            photo.save(path.with_name(f"{number:03} again.jpg"), quality=40)
    query = folder / "query.jpg"
    path.rename(query)
    return query


def draw(url, query, path):
    chromium = FLAGS.chromium or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 1000}, color_scheme=FLAGS.theme)
        page.goto(url)
        page.wait_for_selector("#examples li")
        page.locator("#about").evaluate(
            "e => { e.textContent = e.textContent.replace(/\\S*(?=photos$)/, ''); }"
        )
        page.set_input_files("#file", query)
        page.locator("#radius").fill("16")
        page.wait_for_selector("#neighbors li")
        page.locator("#find").click()
        page.wait_for_selector("#groups article")
        page.wait_for_load_state("networkidle")
        page.screenshot(
            path=path, clip={"x": 0, "y": 0, "width": 1000, "height": 1400}, full_page=True
        )
        browser.close()


if __name__ == "__main__":
    app.run(main)
