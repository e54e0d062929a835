"""
  tfhash encode --model=runs/photos-32 --images=photos/ --output=photos.npz
  tfhash encode --model=runs/mnist-12 --images=images.npz --output=codes.npz
  tfhash encode --model=runs/mnist-12 --dataset=mnist --split=test --output=test.npz
  tfhash encode --model=runs/photos-32 --images='photos/**' --output=codes/ --runner=direct --workers=2

Encodes images with a trained model and writes an .npz file of arrays: `codes`, packed uint8
[n, ceil(bits / 8)]; `names`, the name of each item; `bits`; and for `tfhash index`, where they come
from: `model`, a fingerprint, `model_path` and `folder`.

A folder is searched at any depth, and its images are brought to the size and colors that the
model takes. An .npz file holds an array `images` [n, height, width(, channels)], 0 to 255.

With --runner, Apache Beam encodes on several processes or on a cluster, and --output is a directory of
shards of (id, name, code). A run that was interrupted continues where it was when the same command is
given again, without --overwrite. --images is a folder or a pattern then: ** stands for any
characters, * for any but /. `tfhash index --codes` takes such a directory.
"""

import dataclasses
import pathlib

from tfhash.cli.model_flag import Model
from tfhash.cli.require import require, require_free
from tfhash.experiments.settings import Settings, Source, setting


@dataclasses.dataclass(frozen=True)
class Images(Settings):
    images: str | None = setting(
        None, "Folder of images, or .npz file; with --runner, a folder or a pattern."
    )
    split: str = setting(
        "test",
        "Split of a dataset of tensorflow-datasets, such as test or train[:1000]; digits are all "
        "taken.",
    )
    batch_size: int = setting(256, "Images encoded at a time.", at_least=1)


@dataclasses.dataclass(frozen=True)
class Records(Settings):
    records: str | None = setting(
        None, "Pattern of TFRecord files of tf.train.Example, in place of --images; with --runner."
    )
    image_key: str | None = setting(
        None,
        "Feature of --records that holds the file of an image; image/encoded or image by default.",
    )
    name_key: str | None = setting(
        None, "Feature of --records that holds its name; by default it is FILE/NUMBER."
    )


@dataclasses.dataclass(frozen=True)
class Bulk(Settings):
    runner: str | None = setting(
        None,
        "Encode on Apache Beam: direct is processes of this machine; dataflow, flink and spark take "
        "their own options by --beam_options.",
        choices=("direct", "dataflow", "flink", "spark"),
    )
    workers: int = setting(1, "Processes that encode, with --runner=direct.", at_least=1)
    beam_options: tuple | None = setting(
        None, "Option of Beam, as --beam_options=--region=europe-west1; repeat it for more."
    )
    file_format: str = setting("parquet", "Format of the shards.", choices=("parquet", "tfrecord"))
    shard_size: int = setting(4096, "Images of a shard.", at_least=1)


@dataclasses.dataclass(frozen=True)
class Output(Settings):
    output: str | None = setting(
        None, "File to write, ending in .npz; with --runner, a directory of shards."
    )
    overwrite: bool = setting(False, "Replace --output if it exists.")


GROUPS = {
    "Model": (Model,),
    "Images: --images, --dataset or --records": (Images, Source, Records),
    "Output": (Output,),
    "On Apache Beam": (Bulk,),
}


def check(given):
    require(given, "model", "output")
    if sum(given.get(name) is not None for name in ("images", "dataset", "records")) != 1:
        raise ValueError("give one of --images, --dataset and --records")
    if "split" in given and given.get("dataset") in (None, "digits"):
        raise ValueError("--split needs a --dataset of tensorflow-datasets, which has splits")
    for name in ("image_key", "name_key"):
        if name in given and "records" not in given:
            raise ValueError(f"--{name} needs --records")
    output = pathlib.Path(given["output"])
    if "runner" in given:
        _check_bulk(given, output)
        return
    for field in (*dataclasses.fields(Records), *dataclasses.fields(Bulk)):
        if field.name in given:
            raise ValueError(f"--{field.name} needs --runner")
    if output.suffix != ".npz":
        raise ValueError(
            f"--output must end in .npz, or be a directory with --runner. Received: {output}"
        )
    require_free(given, "output")


def _check_bulk(given, output):
    if output.suffix == ".npz":
        raise ValueError(f"--output must be a directory with --runner. Received: {output}")
    if str(given.get("images", "")).endswith(".npz"):
        raise ValueError(
            "--images must be a folder or a pattern with --runner. Received: an .npz file"
        )
    if given["runner"] != "direct" and "workers" in given:
        raise ValueError(
            f"--workers is for --runner=direct. Give {given['runner']} its own by --beam_options"
        )
    if "records" in given and "shard_size" in given:
        raise ValueError("--shard_size does not apply to --records, each file of which is a shard")


def check_paths(given):
    from tfhash.experiments import image_arrays, settings
    from tfhash.experiments.run_directory import RunDirectory
    from tfhash.files import check_directory

    if given.get("runner") is not None:
        return  # which may read and write elsewhere than on this machine
    check_directory(pathlib.Path(given["output"]).parent)
    RunDirectory.of_model(given["model"]).check_model()
    settings.check_paths(given)
    if given.get("images") is not None:
        image_arrays.check_exists(given["images"])


def run(given, command_line):
    del command_line
    if given.get("runner") is not None:
        _run_bulk(given)
        return
    from tfhash.experiments import RunDirectory
    from tfhash.experiments.code_files import origin_of, write_codes
    from tfhash.experiments.encoding import encode
    from tfhash.experiments.progress import Progress

    model = RunDirectory.of_model(given["model"]).load_model()
    images = dataclasses.asdict(Images.pick(given))
    codes, names = encode(model, Progress(), source=Source.pick(given), **images)
    origin = origin_of(model, given["model"], given.get("images") or given["dataset"])
    write_codes(given["output"], codes, names, model.bits, origin)
    print(f"wrote {len(codes):,} codes of {model.bits} bits to {given['output']}")


def _run_bulk(given):
    from tfhash.beam import encode_images
    from tfhash.experiments.progress import Progress

    settings: dict = {}
    for cls in (Images, Source, Records, Bulk):
        settings |= dataclasses.asdict(cls.pick(given))
    settings["beam_options"] = settings["beam_options"] or ()
    overwrite, output = bool(given.get("overwrite")), given["output"]
    manifest = encode_images(
        given["model"], output, overwrite=overwrite, progress=Progress(), **settings
    )
    print(
        f"wrote {manifest.items:,} codes of {manifest.bits} bits to {output}, "
        f"{manifest.shards:,} shards"
    )
