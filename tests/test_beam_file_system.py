"""Images, model and shards may be in a file system of Beam."""

import shutil

import numpy as np
import pytest
from PIL import Image
from shard_cases import together

pytest.importorskip("apache_beam", reason="needs the extra beam: pip install '.[beam]'")

from beam_cases import collected, run_here
from beam_file_system import SCHEME, Elsewhere

from tfhash.beam import ReadCodes, encode_images
from tfhash.experiments.progress import Progress
from tfhash.index import shards


def test_a_run_elsewhere_makes_the_codes_of_one_here(
    make_model, tmp_path, rng, monkeypatch, capsys
):
    monkeypatch.setattr("tfhash.beam.local.run", run_here)
    monkeypatch.setattr(Elsewhere, "root", str(tmp_path / "elsewhere"))
    here = tmp_path / "photos"
    (here / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.tif", "deep/c.jpg"):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), "uint8")).save(here / name)
    (here / "bad.png").write_bytes(b"rubbish")
    (here / "notes.txt").write_text("no image")
    make_model(image_shape=(8, 8, 3)).save(tmp_path / "model.keras")
    shutil.copytree(here, tmp_path / "elsewhere" / "photos")
    shutil.copy(tmp_path / "model.keras", tmp_path / "elsewhere")
    settings = {"shard_size": 2, "skip_broken": True}
    encode_images(str(tmp_path / "model.keras"), tmp_path / "codes", images=str(here), **settings)
    expected = together(shards.blocks(tmp_path / "codes"))
    for images in ("photos", "photos/**"):
        manifest = encode_images(
            f"{SCHEME}model.keras",
            f"{SCHEME}codes",
            images=SCHEME + images,
            overwrite=True,
            progress=Progress(2),
            **settings,
        )
        assert (manifest.items, manifest.bad, manifest.shards) == (3, 1, 2)
        assert "notes.txt" in capsys.readouterr().out
        blocks = collected(lambda p: p | ReadCodes(f"{SCHEME}codes"))
        found = together(sorted(blocks, key=lambda block: block.names[0]))
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
        assert found[2] == expected[2]
    assert not list((tmp_path / "elsewhere").glob("codes/*.partial-*"))
