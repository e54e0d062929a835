"""What the tests of `tfhash demo` share: photos with copies, their index, and the page."""

import contextlib

import numpy as np
import requests
from serving_cases import file_of, photo, served

from tfhash.data import ImageFiles, decode_and_resize
from tfhash.experiments import ImageIndex
from tfhash.experiments.code_files import Origin
from tfhash.experiments.demo_page.answers import Answers
from tfhash.experiments.demo_page.app import App
from tfhash.experiments.demo_page.gallery import Gallery
from tfhash.experiments.demo_page.query import ByFile
from tfhash.index import HammingIndex
from tfhash.models import fingerprint

SHAPE = (8, 8, 3)
BITS, PHOTOS, COPIES = 12, 12, 3


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


def write_index(folder, path, model=None):
    """What `tfhash index` writes, or, without a model, an index of codes drawn at random.

    The copies, which come first, have one code with the photo after them.
    """
    images = ImageFiles.below(folder)
    if model is None:
        codes = np.random.default_rng(0).integers(0, 256, (len(images), 2), "uint8") & [255, 15]
        codes[:COPIES] = codes[COPIES]
        identity = model_path = ""
    else:
        contents = [(folder / name).read_bytes() for name in images.names]
        codes = model.encode(np.stack([decode_and_resize(each, SHAPE) for each in contents]))
        identity, model_path = fingerprint(model), str(path.with_suffix(".keras"))
        model.save(model_path)
    index = HammingIndex(BITS, model=identity)
    ids = index.add(codes.astype("uint8"), names=images.names)
    stamps = dict(zip(ids.tolist(), images.stamps.values()))
    ImageIndex(index, Origin(identity, model_path, str(folder)), stamps).save(path)
    return path


def app_of(index, query=None, folder=None, follow_links=False, **options):
    """The web application for an index, or the path of one; without a query, as without a model."""
    index = index if isinstance(index, ImageIndex) else ImageIndex.load(index)
    gallery = Gallery(index, index.find_folder(folder), follow_links)
    query = query or ByFile(gallery, "there is no model")
    return App(gallery, Answers(gallery, query), **options)


@contextlib.contextmanager
def asking(app):
    """Serves an application; yields a function that asks it."""
    with served(app) as url, requests.Session() as session:
        session.trust_env = False

        def ask(path, body=None, **headers):
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            if body is None:
                return session.get(url + path, headers=headers, timeout=60)
            return session.post(url + path, data=body, headers=headers, timeout=60)

        ask.url = url
        yield ask


def id_of(index, name):
    return index.index.ids.tolist()[index.index.names.index(name)]
