"""What the tests of `tfhash demo` share: photos with copies, their index, and the page."""

import contextlib

import numpy as np
import requests
from PIL import Image
from serving_cases import file_of, photo, served

from tfhash.experiments import ImageIndex, index_images
from tfhash.experiments.demo_page.answers import Answers
from tfhash.experiments.demo_page.app import App
from tfhash.experiments.demo_page.gallery import Gallery
from tfhash.experiments.demo_page.query import ByFile, ByModel

SHAPE = (8, 8, 3)
PHOTOS, COPIES = 12, 3


def write_photos(folder):
    """Twelve photos, and copies of the first one under other names."""
    rng = np.random.default_rng(0)
    (folder / "trips").mkdir(parents=True)
    contents = [file_of(photo(rng, (30, 20)), "PNG") for _ in range(PHOTOS)]
    for number, each in enumerate(contents):
        (folder / "trips" / f"{number:02}.png").write_bytes(each)
    for number in range(COPIES):
        (folder / f"copy {number}.png").write_bytes(contents[0])
    return folder


def write_index(folder, model, path):
    """An index of a folder that remembers its model; returns its path."""
    model_path = path.with_suffix(".keras")
    model.save(model_path)
    index_images(folder, model, path, model_path=str(model_path))
    return path


def app_of(index, model=None, folder=None, follow_links=False, **options):
    """The web application for an index, or the path of one."""
    index = index if isinstance(index, ImageIndex) else ImageIndex.load(index)
    gallery = Gallery(index, index.find_folder(folder), follow_links)
    query = ByFile(gallery, "there is no model") if model is None else ByModel(model)
    return App(gallery, Answers(gallery, query), **options)


@contextlib.contextmanager
def asking(app):
    """Serves an application; yields a function that asks it."""
    with served(app) as url, requests.Session() as session:
        session.trust_env = False

        def ask(path, body=None, **headers):
            if body is None:
                return session.get(url + path, headers=headers, timeout=60)
            return session.post(url + path, data=body, headers=headers, timeout=60)

        yield ask


def bits_of(code, bits):
    """Bits of a code in hexadecimal, as text."""
    packed = np.frombuffer(bytes.fromhex(code), np.uint8)
    return "".join(map(str, np.unpackbits(packed, bitorder="little")[:bits]))


def jpeg_pixels(contents):
    with Image.open(contents) as image:
        return image.format, image.size
