"""Image formats: which are read, and by what."""

import functools
import io
import os

TENSORFLOW_EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".pjpeg", ".pjp",
    ".png", ".apng", ".gif", ".bmp", ".dib", ".webp", ".jxl",
)  # fmt: skip

# Read by Pillow while data is loaded. The exported model does not decode them.
PILLOW_EXTENSIONS = (
    ".tif", ".tiff", ".avif", ".heic", ".heif", ".hif",
    ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga",
)  # fmt: skip

# Images, but of formats that are not read.
OTHER_EXTENSIONS = (
    ".svg", ".eps", ".psd", ".xcf", ".ai", ".ico", ".exr", ".hdr", ".dng", ".cr2", ".cr3", ".nef",
    ".arw", ".orf", ".rw2", ".raf", ".raw", ".dcm",
)  # fmt: skip

EXTENSIONS = TENSORFLOW_EXTENSIONS + PILLOW_EXTENSIONS

# Version of TensorFlow.
FIRST_TO_READ_WEBP = (2, 20)

_TENSORFLOW_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP", "JPEG XL")

# By what is in a file, as `format_of` names it. Pillow reads more formats, which have names alone.
PILLOW_FORMATS = ("TIFF", "AVIF", "HEIC", "JPEG 2000", "PNM")

_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def why_left_out(name):
    """Why a file of this name is not taken for an image that can be read, or `None` if it is.

    >>> why_left_out("notes.txt"), why_left_out("photo.JPG")
    ('not an image (.txt)', None)
    """
    extension = os.path.splitext(name)[1].lower()
    if extension in EXTENSIONS:
        return None
    if extension in OTHER_EXTENSIONS:
        return f"a format that is not read ({extension})"
    return f"not an image ({extension or 'no extension'})"


def format_of(contents):
    """Name of the format of a file by how it starts, or `None` if it is not known.

    >>> format_of(b"GIF89a")
    'GIF'
    """
    if contents[4:8] == b"ftyp":
        if contents[8:12] in (b"avif", b"avis") or b"avif" in contents[8:40]:
            return "AVIF"
        return "HEIC" if contents[8:12] in _HEIC_BRANDS else None
    if contents.startswith(b"RIFF"):
        return "WebP" if contents[8:12] == b"WEBP" else None
    starts = {
        b"\xff\xd8\xff": "JPEG",
        b"\x89PNG\r\n\x1a\n": "PNG",
        b"GIF8": "GIF",
        b"BM": "BMP",
        b"\xff\x0a": "JPEG XL",
        b"\0\0\0\x0cJXL ": "JPEG XL",
        b"II*\0": "TIFF",
        b"MM\0*": "TIFF",
        b"\0\0\0\x0cjP  ": "JPEG 2000",
        b"\xffO\xffQ": "JPEG 2000",
        b"%PDF": "PDF",
        b"<svg": "SVG",
        b"<?xml": "XML",
    }
    found = [name for start, name in starts.items() if contents.startswith(start)]
    if found:
        return found[0]
    if contents[:1] == b"P" and contents[1:2] in b"123456" and contents[2:3].isspace():
        return "PNM"
    if contents[:200].lstrip().lower().startswith((b"<html", b"<!doctype")):
        return "HTML"
    return None


def is_for_pillow(name, contents):
    """Whether Pillow decodes a file: by its extension, unless TensorFlow reads what is in it."""
    found = format_of(contents)
    if found == "WebP" and not tensorflow_reads_webp():
        return True
    extension = os.path.splitext(name)[1].lower()
    return extension in PILLOW_EXTENSIONS and found not in _TENSORFLOW_FORMATS


@functools.cache
def tensorflow_reads_webp():
    """Whether the installed TensorFlow decodes WebP, as version 2.20 and newer do."""
    import tensorflow as tf

    return tuple(map(int, tf.__version__.split(".")[:2])) >= FIRST_TO_READ_WEBP


def to_png(contents):
    """Decodes an image with Pillow and writes it as PNG, which TensorFlow decodes.

    The first picture of a file is turned upright. Transparency and 16-bit gray are kept.

    Args:
        contents: Bytes of a file.

    Raises:
        ValueError: If Pillow cannot read it; the message says why.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if format_of(contents) == "HEIC" and not _can_read_heic():
        raise ValueError("HEIC needs pillow-heif. Run `pip install pillow-heif`")
    png = io.BytesIO()
    try:
        opened = Image.open(io.BytesIO(contents))
        if opened.format == "WEBP" and getattr(opened, "is_animated", False):
            raise ValueError("animation")  # which TensorFlow refuses, too
        image = ImageOps.exif_transpose(opened)
        if image.mode in ("F", "I"):
            raise ValueError(f"pixels of 32 bits (Pillow's mode {image.mode}) have no known range")
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
            is_deep = image.mode.startswith("I;16")
            has_alpha = "A" in image.mode or "a" in image.mode
            image = image.convert("I;16" if is_deep else "RGBA" if has_alpha else "RGB")
        image.save(png, "PNG", compress_level=1)
    except UnidentifiedImageError:
        raise ValueError("Pillow does not know this format") from None
    except Exception as error:
        # A damaged file makes Pillow raise almost anything.
        raise ValueError(str(error) or type(error).__name__) from error
    return png.getvalue()


@functools.cache
def _can_read_heic():
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
