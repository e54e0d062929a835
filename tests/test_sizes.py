"""Photos of any size become the input of a network: the middle, not squeezed, the same everywhere."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tfhash import data
from tfhash.data.decoding import MARGIN, decode, decode_image, plan_decoding
from tfhash.data.images import decode_and_resize, resize_to

ORIENTATION = 274


def picture(height, width, seed=0):
    """Smooth shapes and fine grain, as in a photo."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / 40
    waves = [np.sin(rows * a + columns * b) for a, b in rng.uniform(-2, 2, (3, 2))]
    pixels = 128 + 80 * np.stack(waves, axis=-1) + rng.normal(0, 10, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype("uint8"))


def saved(image, fmt="JPEG", orientation=1):
    file, tags = io.BytesIO(), Image.Exif()
    tags[ORIENTATION] = orientation
    image.save(file, fmt, exif=tags, **({"quality": 95} if fmt == "JPEG" else {}))
    return file.getvalue()


def difference(a, b):
    return np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int))


@pytest.mark.parametrize("size", [(90, 600), (600, 90), (101, 160), (12, 10), (33, 33)])
@pytest.mark.parametrize("shape", [(48, 48, 3), (24, 40, 3)])
def test_the_middle_is_kept_with_its_aspect_as_by_pillow(size, shape):
    image = picture(*size)
    found = resize_to(tf.constant(np.asarray(image)), shape)
    expected = ImageOps.fit(image, shape[1::-1], Image.Resampling.BILINEAR)
    # Pillow cuts before it resizes, which shows at the border.
    assert difference(found, expected)[1:-1, 1:-1].max() <= 1
    assert difference(found, expected).mean() < 1


def test_without_its_aspect_an_image_is_squeezed():
    image = picture(30, 90)
    found = resize_to(tf.constant(np.asarray(image)), (24, 24, 3), keep_aspect=False)
    expected = image.resize((24, 24), Image.Resampling.BILINEAR)
    assert difference(found, expected).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(24, 24, 3), (16, 30, 3)])
def test_a_turned_photo_gives_the_middle_of_the_upright_one(orientation, shape):
    contents = saved(picture(70, 41), "PNG", orientation)
    found = decode_and_resize(contents, shape)
    assert difference(found, resize_to(decode_image(contents), shape)).max() <= 1


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("fmt", ["JPEG", "PNG"])
def test_a_file_of_the_right_shape_stays_exactly_as_it_is(fmt, orientation):
    contents = saved(picture(12, 20), fmt, orientation)
    upright = decode_image(contents)
    np.testing.assert_array_equal(decode_and_resize(contents, upright.shape), upright)


@pytest.mark.parametrize(
    ("side", "ratio"), [(None, 1), (300, 1), (151, 1), (150, 2), (75, 4), (38, 4), (37, 8), (1, 8)]
)
def test_a_jpeg_is_decoded_as_small_as_the_margin_allows(side, ratio):
    assert MARGIN == 2
    plan = plan_decoding(saved(picture(600, 803)), side)
    assert decode(plan).shape == (600 // ratio, -(-803 // ratio), 3)
    assert (plan.size.numpy().tolist(), int(plan.ratio)) == ([600, 803], ratio)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "fmt", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "WEBP alpha", "WEBP lossless"]
)
def test_the_size_is_read_from_the_header(fmt, progressive):
    fmt, _, kind = fmt.partition(" ")
    image = picture(41, 530).convert("RGBA" if kind == "alpha" else "RGB")
    file = io.BytesIO()
    options = {"JPEG": {"progressive": progressive}, "WEBP": {"lossless": kind == "lossless"}}
    image.save(file, fmt, **options.get(fmt, {}))
    assert plan_decoding(file.getvalue()).size.numpy().tolist() == [41, 530]


def test_resizing_a_batch_gives_the_bits_of_its_images():
    images = np.stack([np.asarray(picture(31, 50, seed)) for seed in range(4)])
    for shape in ((16, 16, 3), (16, 20, 1), (31, 50, 3)):
        expected = [resize_to(tf.constant(image), shape) for image in images]
        np.testing.assert_array_equal(resize_to(tf.constant(images), shape), expected)


@pytest.mark.parametrize("size", [(640, 480), (427, 641), (1203, 901)])
@pytest.mark.parametrize("side", [24, 48, 100])
@pytest.mark.parametrize("orientation", [1, 8])
def test_a_jpeg_decoded_small_looks_like_one_decoded_in_full(size, side, orientation):
    contents = saved(picture(*size), "JPEG", orientation)
    found = decode_and_resize(contents, (side, side, 3))
    whole = resize_to(decode_image(contents), (side, side, 3))
    assert difference(found, whole).mean() < 1


def test_an_exported_model_that_decodes_gives_the_same_bits(tmp_path):
    files = [
        saved(picture(400, 531), "JPEG", 6),
        saved(picture(30, 200), "PNG"),
        saved(picture(9, 7), "BMP"),
    ]
    module = tf.Module()
    module.decode = tf.function(
        lambda contents: decode_and_resize(contents, (48, 48, 3)),
        input_signature=[tf.TensorSpec((), tf.string)],
    )
    tf.saved_model.save(module, tmp_path)
    loaded = tf.saved_model.load(tmp_path)
    for number, contents in enumerate(files):
        (tmp_path / f"{number}.img").write_bytes(contents)
        here = decode_and_resize(contents, (48, 48, 3))
        np.testing.assert_array_equal(loaded.decode(contents), here)


def test_training_and_encoding_see_what_the_function_gives(tmp_path):
    contents = {"a/1.jpg": saved(picture(400, 531), orientation=6), "a/2.png": saved(picture(30, 200), "PNG"),
                "b/3.png": saved(picture(9, 7), "PNG"), "b/4.jpg": saved(picture(301, 211))}  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    expected = {n: decode_and_resize(c, (16, 16, 3)).numpy() for n, c in contents.items()}
    splits = data.load(tmp_path, image_size=16, query_fraction=0.5, validation_fraction=0)
    encoded, _ = data.load_images(tmp_path, (16, 16, 3))
    for split in (splits.database, splits.queries, encoded):
        for name, image in zip(split.names, split.images()):
            np.testing.assert_array_equal(image, expected[name])


def test_a_panorama_takes_no_more_memory_than_its_middle():
    thin = np.zeros((1, 2_000_000, 3), "uint8")  # as tall as the network's input, 37 GB
    thin[:, 1_000_000:] = 255
    found = resize_to(tf.constant(thin), (56, 56, 3)).numpy()
    assert found[0, 0, 0] < 10 < 245 < found[0, -1, 0]


def test_most_sides_tell_whether_images_are_larger(tmp_path):
    for number, size in enumerate([(40, 90), (50, 60), (41, 40), (10, 10), (45, 45), (9, 90)]):
        path = tmp_path / ("a" if number % 2 else "b") / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(saved(picture(*size), "PNG"))
    split, _ = data.load_images(tmp_path, (8, 8, 3))
    assert sorted(split.source.shorter_sides.tolist()) == [9, 10, 40, 40, 45, 50]
    assert split.is_larger_than((40, 40))
    assert not split.is_larger_than((41, 8))
    assert not data.load("digits").train.is_larger_than((1, 1))


def test_photos_of_tensorflow_datasets_are_decoded_as_files_are(tmp_path):
    import tensorflow_datasets as tfds

    photos = [
        saved(picture(400, 531), orientation=6),
        saved(picture(90, 60)),
        saved(picture(30, 200), "PNG"),
    ]

    class TurnedPhotos(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"image": tfds.features.Image(), "count": np.int64}
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"test": self._generate_examples()}

        def _generate_examples(self):
            for i, photo in enumerate(photos):
                yield i, {"image": io.BytesIO(photo), "count": i}

    builder = TurnedPhotos(data_dir=tmp_path)
    builder.download_and_prepare()
    order = [item["count"] for item in builder.as_dataset("test").as_numpy_iterator()]
    split, _ = data.load_images("turned_photos", (48, 48, 3), data_dir=tmp_path)
    expected = [decode_and_resize(photos[i], (48, 48, 3)) for i in order]
    np.testing.assert_array_equal(split.images(), expected)
    for i in range(3):
        whole = split.source.image(tf.constant(i))
        np.testing.assert_array_equal(whole, decode_image(photos[order[i]]))
