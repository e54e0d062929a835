"""Bulk encoding on Apache Beam makes the codes of `tfhash encode`, whatever is interrupted or broken."""

import json
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from commands import error_of
from PIL import Image
from shard_cases import together

pytest.importorskip("apache_beam", reason="needs the extra beam: pip install '.[beam]'")

import apache_beam as beam
from beam_cases import collected, pipeline, run_here

from tfhash.beam import Bad, Encode, encode_images, local, sharing
from tfhash.beam import encoder as encoders
from tfhash.cli import main
from tfhash.experiments import RunDirectory
from tfhash.experiments.encoding import encode
from tfhash.experiments.progress import Progress
from tfhash.experiments.settings import Source
from tfhash.index import OtherModelError, shard_files, shards

# By what is appended to the name.
FORMATS = ("png", "jpg", "gif", "bmp", "webp", "tif")


@pytest.fixture(scope="module")
def model_path(make_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    make_model(image_shape=(8, 8, 3)).save(path)
    return str(path)


@pytest.fixture(scope="module")
def model(model_path):
    return RunDirectory.of_model(model_path).load_model()


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch, model):
    monkeypatch.setattr("tfhash.beam.local.run", run_here)
    # Loading takes most of the time.
    monkeypatch.setattr(encoders, "_load", lambda path: model)


@pytest.fixture
def mixed(tmp_path):
    """A folder of images of all kinds and sizes."""
    rng = np.random.default_rng(0)
    (tmp_path / "mixed" / "deep").mkdir(parents=True)
    for i in range(12):
        pixels = rng.integers(0, 256, (8 + 5 * (i % 4), 30, 3), "uint8")
        folder = tmp_path / "mixed" / ("deep" if i % 2 else "")
        Image.fromarray(pixels).save(folder / f"{i}.{FORMATS[i % 6]}")
    return tmp_path / "mixed"


def codes_of(model, folder):
    """What `tfhash encode` makes of a folder, by name."""
    codes, names = encode(model, Progress(0), images=str(folder), source=Source(skip_broken=True))
    return dict(zip(names, map(bytes, codes)))


def contents(output):
    """Codes by name of a directory, whose ids are those of the names."""
    ids, codes, names = together(shards.blocks(output))
    assert ids.tolist() == [shards.id_of(name) for name in names]
    assert len(set(names)) == len(names)
    return dict(zip(names, map(bytes, codes)))


def test_encode_gives_the_bits_of_the_command_and_bad_images_apart(mixed, model_path, model):
    bad = {"bad.png": b"rubbish", "empty.jpg": b""}
    files = [(path.relative_to(mixed).as_posix(), path.read_bytes()) for path in mixed.rglob("*.*")]
    files += bad.items()

    def build(made):
        codes, bad = made | beam.Create(files) | Encode(model_path, batch_size=4)
        return (codes, bad) | beam.Flatten()

    found = collected(build)
    reasons = {item.name: item.reason for item in found if isinstance(item, Bad)}
    assert {item.name: item.code for item in found if not isinstance(item, Bad)} == codes_of(
        model, mixed
    )
    assert reasons.keys() == bad.keys()
    assert "is empty" in reasons["empty.jpg"]


def test_the_counters_of_a_pipeline_say_how_many_images_were_bad(mixed, model_path):
    files = [("a.png", (mixed / "0.png").read_bytes()), ("b.png", b"rubbish"), ("c.png", b"")]
    made = pipeline()
    _ = made | beam.Create(files) | Encode(model_path)
    counters = made.run().metrics().query()["counters"]
    assert {counter.key.metric.name: counter.committed for counter in counters if counter.key.metric.namespace == "tfhash"} == {"codes": 1, "bad": 2}  # fmt: skip


def test_a_process_loads_the_model_once(model_path, monkeypatch, model):
    loaded = []
    monkeypatch.setattr(encoders, "_load", lambda path: loaded.append(path) or model)
    handle = sharing.EncoderHandle(model_path)
    first = handle.load()
    assert handle.load() is first
    assert loaded == [model_path]


@pytest.mark.parametrize("file_format", shard_files.FILE_FORMATS)
def test_a_directory_has_the_codes_of_the_command(
    mixed, model_path, model, tmp_path, capsys, file_format
):
    (mixed / "broken.png").write_bytes(b"rubbish")
    (mixed / "notes.txt").write_text("no image")
    (mixed / "gone.png").symlink_to(mixed / "nowhere")
    (mixed / "caf\udce9.png").write_bytes((mixed / "0.png").read_bytes())
    output = tmp_path / "codes"
    command = ["encode", f"--model={model_path}", f"--images={mixed}", f"--output={output}"]
    command += ["--runner=direct", "--shard_size=5", f"--file_format={file_format}"]
    error = error_of(capsys, *command)
    assert "3 images cannot be read: gone.png: a link to" in error
    assert r"caf\xe9.png: its name is not valid UTF-8" in error
    assert "broken.png: Unknown image" in error
    assert "codes of the 12 others are kept" in error
    # Not complete, so that nothing is missed by mistake.
    assert "is not complete" in error_of(capsys, "index", f"--codes={output}", "--output=x.index")
    before = {path: path.stat().st_mtime_ns for path in output.glob("codes-*")}
    assert main([*command, "--skip_broken"]) == 0
    printed = capsys.readouterr().out
    assert "3 of 3 shards are there already" in printed
    assert "left out 1, not an image (.txt): notes.txt" in printed
    assert "wrote 12 codes of 12 bits" in printed
    assert {path: path.stat().st_mtime_ns for path in output.glob("codes-*")} == before
    (mixed / "caf\udce9.png").unlink()
    assert contents(output) == codes_of(model, mixed)
    manifest = shards.read_manifest(output)
    assert (manifest.items, manifest.bad, manifest.folder) == (12, 3, str(mixed.resolve()))


CONTINUES = "; the same command{} continues it"


@pytest.mark.parametrize(
    ("made", "flag", "words"),
    [(0, "", ""), (1, "", CONTINUES), (1, "--overwrite", CONTINUES)],
)
def test_ctrl_c_says_how_to_go_on(mixed, model_path, monkeypatch, capsys, made, flag, words):
    def interrupted(directory, pending, *arguments):
        run_here(directory, lambda: pending()[:made], *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr("tfhash.beam.local.run", interrupted)
    command = ["encode", f"--model={model_path}", f"--images={mixed}", "--shard_size=5"]
    command += ["--runner=direct", f"--output={mixed}-codes", *filter(None, [flag])]
    words = words.format(", without --overwrite," if flag else "")
    assert error_of(capsys, *command, status=130) == f"\ntfhash encode: interrupted{words}\n"


def test_what_was_cut_off_or_has_changed_is_made_again_and_nothing_else(
    mixed, model_path, model, tmp_path
):
    output = tmp_path / "codes"

    def run():
        encode_images(model_path, output, images=str(mixed), shard_size=3)
        return {path.name: path.stat().st_ino for path in output.glob("*.parquet")}

    first = run()
    assert len(first) == 4
    assert run() == first
    names = sorted(first)
    # Killed before the report; cut off; killed between shard and report, for another content.
    (output / names[0].replace("parquet", "report")).unlink()
    (output / names[1]).write_bytes((output / names[1]).read_bytes()[:-1])
    Image.new("RGB", (30, 20), (200, 30, 40)).save(mixed / "deep" / "9.bmp")
    ((changed, _),) = [
        (path.name, text)
        for path in output.glob("*.inputs")
        if "deep/9.bmp" in (text := path.read_text())
    ]
    again = run()
    remade = {name for name in names if again[name] != first[name]}
    assert remade == {names[0], names[1], changed.replace("inputs", "parquet")}
    assert contents(output) == codes_of(model, mixed)


def test_another_model_or_list_of_images_is_refused_unless_overwritten(
    mixed, model_path, make_model, tmp_path, monkeypatch
):
    output = tmp_path / "codes"
    settings = {"images": str(mixed), "shard_size": 3}
    encode_images(model_path, output, **settings)
    before = contents(output)
    with pytest.raises(ValueError, match="another `shard_size`"):
        encode_images(model_path, output, images=str(mixed), shard_size=4)
    with pytest.raises(ValueError, match="another `file_format`"):
        encode_images(model_path, output, **settings, file_format="tfrecord")
    with pytest.raises(ValueError, match="other images or another way"):
        encode_images(model_path, output, dataset="digits")
    (mixed / "0.png").rename(mixed / "renamed.png")
    with pytest.raises(ValueError, match="added, removed or renamed"):
        encode_images(model_path, output, **settings)
    other = make_model(image_shape=(8, 8, 3), seed=1)
    monkeypatch.setattr(encoders, "_load", lambda path: other)
    with pytest.raises(OtherModelError, match="codes of another model"):
        encode_images(model_path, output, **settings)
    assert contents(output) == before
    encode_images(model_path, output, **settings, overwrite=True)
    assert contents(output) == codes_of(other, mixed)


def test_a_pattern_takes_what_it_matches_below_its_folder(mixed, model_path, model, tmp_path):
    everything = codes_of(model, mixed)
    for pattern, matches in (
        ("*", lambda name: "/" not in name),
        ("**.jpg", lambda name: name.endswith(".jpg")),
        ("deep/1?.*", lambda name: name.startswith("deep/1") and len(name) == len("deep/11.jpg")),
    ):
        output = tmp_path / "codes"
        encode_images(model_path, output, images=f"{mixed}/{pattern}", overwrite=True)
        root = "deep/" if pattern.startswith("deep") else ""
        expected = {n.removeprefix(root): code for n, code in everything.items() if matches(n)}
        assert contents(output) == expected
    with pytest.raises(ValueError, match="There are none"):
        encode_images(model_path, tmp_path / "other", images=f"{mixed}/*.xcf")
    assert not (tmp_path / "other").exists()


def example_of(**features):
    values = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for key, value in features.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString()


def write_records(path, records, packed=""):
    with tf.io.TFRecordWriter(str(path), packed) as file:
        for record in records:
            file.write(record)


def test_records_are_encoded_and_bad_ones_named(mixed, model_path, model, tmp_path, capsys):
    codes = codes_of(model, mixed)
    names = ["0.png", "deep/1.jpg", "2.gif"]
    good = [example_of(image=(mixed / name).read_bytes(), path=name.encode()) for name in names]
    (tmp_path / "records").mkdir()
    write_records(tmp_path / "records" / "a.tfrecord", good[:2])
    write_records(tmp_path / "records" / "b.tfrecord.gz", good[2:], "GZIP")
    pattern = str(tmp_path / "records" / "*.tfrecord*")
    encode_images(model_path, tmp_path / "named", records=pattern, name_key="path")
    assert contents(tmp_path / "named") == {name: codes[name] for name in names}
    bad = [b"no example", example_of(other=b"x"), example_of(image=b"rubbish")]
    write_records(tmp_path / "records" / "c.tfrecord", [*bad, *good])
    whole = (tmp_path / "records" / "c.tfrecord").read_bytes()
    (tmp_path / "records" / "c.tfrecord").write_bytes(whole[:-3])
    command = ["encode", f"--model={model_path}", f"--records={pattern}", "--runner=direct"]
    command += [f"--output={tmp_path / 'numbered'}"]
    error = error_of(capsys, *command)
    for part in (
        "c.tfrecord/0: the record is not a tf.train.Example",
        "c.tfrecord/1: the example has no feature 'image/encoded' or 'image'",
        "c.tfrecord/2: Unknown image",
        "c.tfrecord: the file is damaged after 5 records",
    ):
        assert part in error
    assert main([*command, "--skip_broken"]) == 0
    found = ["a.tfrecord/0", "a.tfrecord/1", "b.tfrecord.gz/0", "c.tfrecord/3", "c.tfrecord/4"]
    expected = dict(zip(found, [codes[name] for name in [*names, *names[:2]]]))
    assert contents(tmp_path / "numbered") == expected


def test_images_of_one_name_are_refused(mixed, model_path, tmp_path):
    record = example_of(image=(mixed / "0.png").read_bytes(), path=b"same")
    write_records(tmp_path / "a.tfrecord", [record, record])
    settings = {"records": str(tmp_path / "a.tfrecord"), "name_key": "path"}
    with pytest.raises(ValueError, match="come more than once"):
        encode_images(model_path, tmp_path / "codes", **settings)
    assert not shards.read_manifest(tmp_path / "codes").complete


def test_a_dataset_has_the_codes_and_names_of_the_command(tmp_path, make_model, monkeypatch):
    small = make_model()
    monkeypatch.setattr(encoders, "_load", lambda path: small)
    encode_images("m.keras", tmp_path / "codes", dataset="digits", shard_size=1000)
    codes, names = encode(small, Progress(0), source=Source(dataset="digits"))
    assert contents(tmp_path / "codes") == dict(zip(names, map(bytes, codes)))
    assert shards.read_manifest(tmp_path / "codes").shards == 2


def test_a_worker_with_another_model_than_the_start_is_an_error(model_path, tmp_path):
    with pytest.raises(ValueError, match="is another model on this worker"):
        encoders.Encoder(model_path, expected="0" * 64)


def test_a_second_run_on_the_same_directory_is_refused(mixed, model_path, tmp_path):
    import fcntl

    output = tmp_path / "codes"
    output.mkdir()
    with open(output / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is writing"):
            encode_images(model_path, output, images=str(mixed))
    encode_images(model_path, output, images=str(mixed))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--runner=direct", "--output=a.npz"], "must be a directory with --runner"),
        (["--runner=direct", "--images=a.npz"], "must be a folder or a pattern"),
        (["--runner=direct", "--dataset=mnist"], "give one of --images, --dataset and --records"),
        (["--runner=flink", "--workers=2"], "--workers is for --runner=direct"),
        (["--runner=storm"], "dataflow"),
        (["--workers=2"], "--workers needs --runner"),
        (["--image_key=a", "--runner=direct"], "--image_key needs --records"),
        ([], "must end in .npz, or be a directory with --runner"),
    ],
)
def test_flags_that_cannot_work_are_refused(capsys, flags, message):
    command = ["encode", "--model=m.keras", "--images=photos", "--output=codes", *flags]
    assert message in error_of(capsys, *command, status=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "one of `images`, `records` and `dataset`"),
        ({"images": "a", "records": "b"}, "one of `images`, `records` and `dataset`"),
        ({"images": "a", "runner": "storm"}, "`runner` must be one of direct"),
        ({"images": "a", "workers": 0}, "`workers` must be an integer >= 1"),
        ({"images": "a", "runner": "flink", "workers": 2}, "`workers` is for runner direct"),
        ({"images": "a", "file_format": "csv"}, "`file_format` must be one of"),
        ({"images": "a", "batch_size": 0}, "`batch_size` must be an integer >= 1"),
        ({"images": "a", "batch_size": 2.0}, "`batch_size` must be an integer >= 1"),
        ({"dataset": os.path.dirname(__file__)}, "Give the folder .* as `images`"),
        ({"dataset": pathlib.Path("photos")}, "Give the folder photos as `images`"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        encode_images("m.keras", tmp_path / "codes", **settings)


def test_a_batch_size_that_cannot_work_is_refused():
    with pytest.raises(ValueError, match="`batch_size` must be an integer >= 1"):
        Encode("m.keras", batch_size=0)


def test_importing_tfhash_does_not_import_beam_and_its_absence_is_explained(tmp_path):
    import subprocess
    import sys

    (tmp_path / "apache_beam.py").write_text("raise ImportError('not here')")
    program = (
        "import sys, tfhash, tfhash.beam, tfhash.index, tfhash.cli.encode\n"
        "assert 'apache_beam' not in sys.modules\n"
        "tfhash.beam.Encode"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    failed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 1
    assert "pip install '.[beam]'" in failed.stderr.splitlines()[-1]


def test_a_report_is_json_with_the_bad_inputs(mixed, model_path, tmp_path):
    (mixed / "broken.png").write_bytes(b"rubbish")
    output = tmp_path / "codes"
    encode_images(model_path, output, images=str(mixed), skip_broken=True)
    report = json.loads((output / "codes-00000-of-00001.report").read_text())
    assert report["items"] == 12
    assert [name for name, _ in report["bad"]] == ["broken.png"]


def test_an_error_of_a_worker_is_found_in_the_log(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("OSError: of an earlier run\n")
    start = log.stat().st_size
    assert local.error_in(log, start) == "it wrote nothing"
    with open(log, "a") as file:
        file.write("INFO: started\n")
    assert local.error_in(log, start) == "INFO: started"
    with open(log, "a") as file:
        file.write(
            "Traceback:\nValueError: x is another model [while running 'Encode-ptransform-9']\n"
        )
        file.write("INFO: closing\n")
    assert local.error_in(log, start) == "ValueError: x is another model"
