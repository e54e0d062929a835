"""Decoded pixels are those a viewer shows, compared with Pillow."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tfhash.data import gif
from tfhash.data.decoding import decode_image
from tfhash.data.formats import tensorflow_reads_webp
from tfhash.data.images import decode_and_resize, resize_to

ORIENTATION = 274

# One traced function for all files: the exported model decodes in a graph, too.
in_graph = tf.function(decode_image, input_signature=[tf.TensorSpec((), tf.string)])


def saved(image, fmt, **options):
    file = io.BytesIO()
    image.save(file, fmt, **options)
    return file.getvalue()


def shown(contents):
    """What Pillow makes of a file: upright, on white, three channels."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(contents)))
    if image.mode.startswith("I"):
        return np.repeat(np.round(np.asarray(image) / 257)[..., None], 3, axis=2)
    image = image.convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image))[..., :3]


def assert_shown_alike(contents):
    np.testing.assert_array_equal(in_graph(contents).numpy(), shown(contents))


@pytest.fixture
def noise(rng):
    return Image.fromarray(rng.integers(0, 256, (9, 7, 4), dtype="uint8"))


@pytest.fixture
def deep(rng):
    return rng.integers(0, 65536, (9, 7), dtype="uint16")


def exif(orientation):
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


WEBP = ["WEBP"] if tensorflow_reads_webp() else []

needs_webp = pytest.mark.skipif(not WEBP, reason="TensorFlow 2.19 and older do not read WebP")

FORMATS = {
    "PNG": ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"],
    **{webp: ["1", "L", "P", "RGB", "RGBA", "LA"] for webp in WEBP},
    "JPEG": ["L", "RGB", "CMYK"],
    "GIF": ["1", "L", "P", "RGB", "RGBA"],
    "BMP": ["L", "P", "RGB"],
}


@pytest.mark.parametrize(
    ("fmt", "mode"), [(fmt, mode) for fmt, modes in FORMATS.items() for mode in modes]
)
def test_every_mode_of_every_format_is_decoded_as_by_pillow(noise, deep, fmt, mode):
    image = Image.fromarray(deep) if mode == "I;16" else noise.convert(mode)
    assert_shown_alike(saved(image, fmt, **({"lossless": True} if fmt == "WEBP" else {})))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("fmt", "mode"), [("JPEG", "RGB"), ("PNG", "LA"), *((webp, "RGBA") for webp in WEBP)]
)
def test_every_orientation_is_applied(noise, fmt, mode, orientation):
    options = {"lossless": True} if fmt == "WEBP" else {}
    assert_shown_alike(saved(noise.convert(mode), fmt, exif=exif(orientation), **options))


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("kind", ["short", "long"])
def test_orientation_is_read_in_both_byte_orders(noise, byte_order, kind):
    value = struct.pack(
        byte_order + ("HH" if kind == "short" else "I"), *((6, 0)[: 1 + (kind == "short")])
    )
    entries = struct.pack(byte_order + "HHI", 0x0100, 3, 1) + struct.pack(byte_order + "HH", 3, 0)
    entries += struct.pack(byte_order + "HHI", ORIENTATION, 3 if kind == "short" else 4, 1) + value
    tags = (b"II*\0" if byte_order == "<" else b"MM\0*") + struct.pack(byte_order + "I", 8)
    tags += struct.pack(byte_order + "H", 2) + entries + bytes(4)
    contents = saved(noise.convert("RGB"), "JPEG", exif=b"Exif\0\0" + tags)
    assert in_graph(contents).shape == (7, 9, 3)
    assert_shown_alike(contents)


def test_exif_is_found_behind_other_segments_and_padding(noise):
    jpeg = saved(noise.convert("RGB"), "JPEG", exif=exif(8), comment=b"a comment " * 50)
    xmp = b"\xff\xff\xff\xe1" + struct.pack(">H", 40) + b"http://ns.adobe.com/xap/1.0/\0".ljust(38)
    assert_shown_alike(jpeg[:2] + xmp + jpeg[2:])


def test_exif_behind_the_pixels_of_a_png_is_found(noise):
    png = saved(noise, "PNG", exif=exif(3))
    start = png.index(b"eXIf") - 4
    length = 12 + int.from_bytes(png[start : start + 4], "big")
    end = png.index(b"IEND") - 4
    moved = png[:start] + png[start + length : end] + png[start : start + length] + png[end:]
    assert_shown_alike(moved)


@needs_webp
def test_exif_of_webp_may_have_the_prefix_of_jpeg(noise):
    assert_shown_alike(
        saved(noise, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(5).tobytes()[6:])
    )


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", *WEBP])
@pytest.mark.parametrize("damage", ["cut", "offset", "count", "value", "zeros", "ones"])
def test_damaged_exif_never_fails_a_file(noise, fmt, damage):
    tags = bytearray(exif(6).tobytes())[6:]  # without the prefix
    if damage == "cut":
        tags = tags[:11]
    elif damage == "offset":
        tags[4:8] = b"\xff\xff\xff\x7f"
    elif damage == "count":
        tags[8:10] = b"\xff\xff"
        tags = tags[:14]
    elif damage == "value":
        tags[-12:] = tags[-12:].replace(b"\x06", b"\x63")
    else:
        tags = bytes(30) if damage == "zeros" else b"\xff" * 30
    prefix = b"Exif\0\0" if fmt == "JPEG" else b""
    options = {"lossless": True} if fmt == "WEBP" else {}
    contents = saved(noise.convert("RGB"), fmt, exif=prefix + bytes(tags), **options)
    plain = saved(noise.convert("RGB"), fmt, **options)
    np.testing.assert_array_equal(in_graph(contents), in_graph(plain))


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", *WEBP, "GIF", "BMP"])
def test_random_damage_is_an_error_or_an_image(noise, rng, fmt):
    options = {"exif": exif(6)} if fmt in ("JPEG", "PNG", "WEBP") else {}
    image = noise.convert("RGB").quantize(8) if fmt in ("GIF", "BMP") else noise.convert("RGB")
    whole = saved(image, fmt, **options)
    for _ in range(60):
        contents = bytearray(whole)
        for at in rng.integers(4, len(contents), 3):
            contents[at] = rng.integers(256)
        contents = bytes(contents[: rng.integers(4, len(contents) + 1)])
        with contextlib.suppress(tf.errors.InvalidArgumentError):
            assert in_graph(contents).shape[-1] == 3


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("transparency", [None, 1, b"\0\x64\xc8"])
def test_palettes_of_png_are_looked_up_with_their_transparency(noise, bits, transparency):
    options = {} if transparency is None else {"transparency": transparency}
    palette = noise.convert("RGB").quantize(2**bits)
    assert_shown_alike(saved(palette, "PNG", bits=bits, **options))


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_a_transparent_color_of_png_shows_the_background(noise, mode):
    image = noise.convert(mode)
    assert_shown_alike(saved(image, "PNG", transparency=image.getpixel((2, 3))))


@pytest.mark.parametrize("colors", [2, 8, 256])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (300, 200)])
def test_frames_of_gif_after_the_first_one_are_cut_off(size, colors):
    rng = np.random.default_rng(0)
    first, *later = (
        Image.fromarray(rng.integers(0, 256, (*size, 3), "uint8")).quantize(colors)
        for _ in range(4)
    )
    file = io.BytesIO()
    # Later frames have color tables of their own.
    first.save(file, "GIF", save_all=True, append_images=later, comment=b"y" * 300)
    moving = file.getvalue()
    assert Image.open(file).n_frames == 4
    still = cut_to_first_frame(moving)
    assert len(still) < len(moving)
    opened = Image.open(io.BytesIO(still))
    assert opened.n_frames == 1
    np.testing.assert_array_equal(in_graph(moving), opened.convert("RGB"))
    # Where the first frame does not end, the decoder has the last word.
    assert cut_to_first_frame(still[:-2]) == still[:-2]
    for without_frame in (moving[:20], b"GIF89a", b""):
        assert cut_to_first_frame(without_frame) == b";"


def cut_to_first_frame(contents):
    data = tf.io.decode_raw(contents, tf.uint8)
    _, descriptor = gif.find_blocks(data)
    return gif.first_frame(tf.constant(contents), data, descriptor).numpy()


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("frames", [1, 3])
def test_transparent_pixels_of_gif_show_the_background(noise, index, frames):
    palette = noise.convert("RGB").quantize(5)
    later = [noise.rotate(90 * i).convert("RGB").quantize(5) for i in range(frames - 1)]
    contents = saved(
        palette, "GIF", transparency=index, save_all=True, append_images=later, comment=b"x" * 700
    )
    assert (shown(contents) == 255).all(axis=2).any()
    assert_shown_alike(contents)


def test_a_black_drawing_on_a_transparent_ground_is_black_on_white():
    drawing = np.zeros((8, 8, 4), "uint8")
    drawing[2:6, 3] = (0, 0, 0, 255)
    for fmt in ("PNG", *WEBP, "GIF"):
        contents = saved(
            Image.fromarray(drawing), fmt, **({"lossless": True} if fmt == "WEBP" else {})
        )
        decoded = in_graph(contents).numpy()
        assert (decoded[2:6, 3] == 0).all()
        assert (decoded == 255).all(axis=2).sum() == 60


def png_of(samples, color_type):
    """A 16-bit PNG, interlaced with Adam7, of samples `uint16 [height, width, channels]`."""

    def chunk(name, contents):
        checked = name + contents
        return struct.pack(">I", len(contents)) + checked + struct.pack(">I", zlib.crc32(checked))

    height, width, _ = samples.shape
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    rows = b"".join(
        b"\0" + row.astype(">u2").tobytes()
        for top, left, down, right in passes
        for row in samples[top::down, left::right]
        if row.size
    )
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 1)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("channels", "color_type"), [(1, 0), (3, 2), (2, 4), (4, 6)])
def test_16_bit_pngs_are_scaled_and_composited(rng, channels, color_type):
    samples = rng.integers(0, 65536, (11, 10, channels), dtype="uint16")
    pixels = np.round(samples / 257)
    if channels in (2, 4):
        alpha = pixels[..., -1:] / 255
        pixels = np.round(pixels[..., :-1] * alpha + 255 * (1 - alpha))
    expected = np.broadcast_to(pixels, (11, 10, 3))
    decoded = in_graph(png_of(samples, color_type)).numpy().astype(int)
    assert np.abs(decoded - expected).max() <= (1 if channels in (2, 4) else 0)


def test_white_in_16_bits_is_white_in_8():
    contents = saved(Image.fromarray(np.array([[0, 128, 129, 65535]], "uint16")), "PNG")
    assert in_graph(contents)[0, :, 0].numpy().tolist() == [0, 0, 1, 255]


def bmp(bits, compression=0, header_bytes=40, masks=b"", pixels=bytes(16), palette=b""):
    start = 14 + header_bytes + len(palette)
    header = struct.pack(
        "<IiiHHIIiiII", header_bytes, 2, 2, 1, bits, compression, len(pixels), 0, 0, 0, 0
    )
    header += masks.ljust(header_bytes - 40, b"\0")
    return (
        b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + palette + pixels
    )


def test_a_short_palette_of_bmp_is_looked_up():
    palette = bytes([1, 2, 3, 0, 250, 251, 252, 0])
    decoded = in_graph(bmp(8, pixels=b"\0\1\0\0\1\0\0\0", palette=palette)).numpy()
    assert decoded.tolist() == [[[252, 251, 250], [3, 2, 1]], [[3, 2, 1], [252, 251, 250]]]


def test_the_fourth_byte_of_a_bmp_is_alpha_only_where_its_header_says_so():
    pixels = bytes([10, 20, 30, 0] * 4)
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    plain, with_alpha = bmp(32, pixels=pixels), bmp(32, 3, 108, masks, pixels)
    assert in_graph(plain)[0, 0].numpy().tolist() == [30, 20, 10]
    assert in_graph(with_alpha)[0, 0].numpy().tolist() == [255, 255, 255]


def test_compressed_bmps_are_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match="run-length encoded"):
        in_graph(bmp(8, compression=1, palette=bytes(1024)))


@pytest.mark.parametrize(
    ("contents", "reason"),
    [(b"", "empty"), (b"<html>", "One of JPEG"), (b"BM", "bmp"), (b"GIF89a", "GIF")],
)
def test_what_is_no_image_is_an_error_with_a_reason(contents, reason):
    with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
        in_graph(contents)


@needs_webp
def test_animated_webp_is_refused_by_name(noise):
    frames = [noise.convert("RGB").rotate(90 * i) for i in range(3)]
    contents = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(tf.errors.InvalidArgumentError, match="Animation"):
        in_graph(contents)


@pytest.mark.parametrize("fmt", FORMATS)
def test_eager_decoding_gives_what_a_graph_gives(noise, fmt):
    contents = saved(noise.convert("RGB"), fmt, exif=exif(7))
    np.testing.assert_array_equal(decode_image(contents), in_graph(contents))


def test_batches_are_decoded_in_a_graph(noise):
    files = [saved(noise, "PNG"), saved(noise.convert("RGB"), "JPEG", exif=exif(6))]

    @tf.function
    def decode(batch):
        return tf.map_fn(
            lambda file: decode_and_resize(file, (6, 5, 1)),
            batch,
            fn_output_signature=tf.TensorSpec((6, 5, 1), tf.uint8),
        )

    expected = [decode_and_resize(file, (6, 5, 1)) for file in files]
    np.testing.assert_array_equal(decode(tf.constant(files)), expected)


def test_an_image_of_the_right_shape_stays_exactly_as_it_is(rng):
    image = rng.integers(0, 256, (5, 6, 3), "uint8")
    np.testing.assert_array_equal(resize_to(tf.constant(image), (5, 6, 3)).numpy(), image)


def test_gray_survives_conversion_to_rgb_and_back():
    gray = np.arange(256, dtype="uint8").reshape(16, 16, 1)
    rgb = resize_to(tf.constant(gray), (16, 16, 3))
    np.testing.assert_array_equal(resize_to(rgb, (16, 16, 1)).numpy(), gray)


def test_16_bit_images_are_scaled_before_they_are_resized(deep):
    for shape in ((9, 7, 1), (18, 14, 3)):
        resized = resize_to(tf.constant(deep[..., None]), shape).numpy()
        assert resized.dtype == np.uint8
        assert np.mean(resized == 255) < 0.1
    np.testing.assert_array_equal(
        resize_to(tf.constant(deep[..., None]), (9, 7, 1))[..., 0], np.round(deep / 257)
    )


def test_channels_that_cannot_be_converted_are_refused():
    with pytest.raises(ValueError, match="4 channels cannot be made one of 3"):
        resize_to(tf.zeros((2, 2, 4), tf.uint8), (2, 2, 3))
