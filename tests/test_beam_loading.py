"""What Beam has encoded is loaded into every index, each code once."""

import numpy as np
import pytest
from engine_cases import ENGINES
from PIL import Image
from shard_cases import contents_of

pytest.importorskip("apache_beam", reason="needs the extra beam: pip install '.[beam]'")

from beam_cases import run_here

from tfhash.beam import encode_images, local
from tfhash.experiments import RunDirectory
from tfhash.experiments.encoding import encode
from tfhash.experiments.progress import Progress
from tfhash.experiments.settings import Source
from tfhash.index import add_shards, shards

IMAGES = 7


@pytest.fixture(scope="module")
def encoded(make_model, tmp_path_factory):
    """A directory of codes, and what an index of it holds by the codes of `tfhash encode`."""
    folder = tmp_path_factory.mktemp("loading")
    make_model(image_shape=(8, 8, 3)).save(folder / "model.keras")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        pixels = rng.integers(0, 256, (8, 8, 3), "uint8")
        Image.fromarray(pixels).save(folder / "photos" / f"ü{i}.png")
    images, output = str(folder / "photos"), folder / "codes"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "run", run_here)
        settings = {"shard_size": 2, "progress": Progress(0)}
        encode_images(str(folder / "model.keras"), output, images=images, **settings)
    model = RunDirectory.of_model(folder / "model.keras").load_model()
    codes, names = encode(model, Progress(0), images=images, source=Source())
    return output, {shards.id_of(name): (bytes(c), name) for name, c in zip(names, codes)}


@pytest.mark.parametrize("name", ["file", *ENGINES])
def test_codes_of_a_pipeline_are_loaded_once(places, encoded, name):
    output, expected = encoded
    made = shards.read_manifest(output)
    index = places[name].make(made.bits, made.model)
    assert add_shards(index, output) == IMAGES
    assert add_shards(index, output) == 0
    assert contents_of(index) == expected
