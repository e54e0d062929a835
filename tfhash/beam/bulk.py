"""Encodes images into a directory of shards, on workers of this machine or of a cluster."""

import contextlib
import os
import shutil
import tempfile

from tfhash.beam import directory as directories
from tfhash.beam import inputs, local, storage
from tfhash.beam.encoder import Encoder
from tfhash.beam.extra import apache_beam as beam
from tfhash.beam.pipeline import Job, build
from tfhash.data import LeftOut, Summary
from tfhash.experiments.datasets import say_summary
from tfhash.experiments.interruption import continued_by
from tfhash.experiments.progress import Progress
from tfhash.index import shard_files, shards
from tfhash.text import escaped, listing

# Beam's names of runners by ours.
RUNNERS = {
    "direct": "DirectRunner",
    "dataflow": "DataflowRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
}


def encode_images(
    model,
    output,
    *,
    images=None,
    records=None,
    dataset=None,
    split="test",
    data_dir=None,
    image_key=None,
    name_key=None,
    runner="direct",
    workers=1,
    beam_options=(),
    file_format="parquet",
    shard_size=4096,
    batch_size=256,
    skip_broken=False,
    overwrite=False,
    progress=None,
):
    """Encodes images into a directory of shards.

    A run that was interrupted is given again, without `overwrite`: shards that are there are kept. Those
    whose files have another size or time of change than before are made again; so are those with
    images that could not be read, unless `skip_broken` is given.

    Args:
        model: Path of a run or `.keras` file, which all workers can read.
        output: The directory; in a file system of Beam, such as `gs://`, for workers elsewhere.
        images: Path of a folder, or a pattern such as `photos/**.jpg`; `**` stands for any characters, and `*`
            for any but `/`.
        records: Path or pattern of TFRecord files of `tf.train.Example`, each a shard.
        dataset, split, data_dir: As `source`, `split` and `data_dir` of `tfhash.data.load_images`.
            Exactly one of `images`, `records` and `dataset` is given.
        image_key: Feature of `records` that holds the file of an image; by default `image/encoded`
            or `image`.
        name_key: Feature of `records` that holds its name; by default the name is `FILE/NUMBER`.
        runner: One of `RUNNERS`. `direct` starts processes on this machine.
        workers: Processes that encode, >= 1; for `direct`.
        beam_options: Options of Beam, as `--region=europe-west1`.
        file_format: Of the shards, one of `tfhash.index.shard_files.FILE_FORMATS`.
        shard_size: Images of a shard, >= 1; not of `records`.
        batch_size: Images that go through the model at a time, >= 1.
        skip_broken: Leave out images that cannot be read. Otherwise they are an error that names them,
            after all others were encoded.
        overwrite: Encode all images again.
        progress: `Progress`; by default nothing is printed.

    Returns:
        `tfhash.index.shards.Manifest`.

    Raises:
        ValueError: If an argument is not as above, there are no images, images are broken, or
            `output` holds codes of other images.
        OtherModelError: If it holds codes of another model.
        FileNotFoundError: If the model or the images do not exist.
        OSError: If the runner fails, workers die again and again, or a file cannot be read or written.

    Example:

        tfhash.beam.encode_images("runs/photos-32", "codes/", images="photos/", workers=4)
    """
    progress = Progress(0) if progress is None else progress
    model, output = os.fspath(model), os.fspath(output)
    images = None if images is None else os.fspath(images)
    records = None if records is None else os.fspath(records)
    _check_source(images, records, dataset)
    _check(runner, workers, file_format, shard_size, batch_size, output)
    model = os.path.abspath(model) if storage.is_local(model) else model
    encoder = Encoder(model)
    if images is not None:
        found = inputs.of_images(images, shard_size)
    elif records is not None:
        found = inputs.of_records(records, image_key, name_key)
    else:
        shape = encoder.model.image_shape
        found = inputs.of_dataset(dataset, split, data_dir, shape, shard_size)
    manifest = shards.Manifest(
        encoder.model.bits,
        encoder.fingerprint,
        model,
        found.folder,
        found.source,
        found.digest,
        file_format,
        len(found.shards),
    )
    output = os.path.abspath(output) if storage.is_local(output) else output.rstrip("/")
    directory = directories.Directory(output, manifest)
    # Workers load it themselves.
    del encoder
    with directory.locked():
        pending = directory.begin(found.shards, overwrite, retry_bad=not skip_broken)
        with continued_by(lambda: _how_to_continue(directory, found, overwrite)):
            _run(
                directory, found, pending, runner, workers, batch_size, list(beam_options), progress
            )
        items, bad = directory.collect()
        left_out = [*found.left_out, *(LeftOut(name, reason, True) for name, reason in bad)]
        summary = Summary(left_out=left_out)
        if summary.broken and not skip_broken:
            raise ValueError(
                escaped(
                    f"{len(summary.broken):,} images cannot be read: {listing(summary.broken)}. The "
                    f"codes of the {items:,} others are kept. Mend them and give the same command "
                    "again, without `overwrite`, or pass `skip_broken` to leave them out"
                )
            )
        say_summary(summary, progress)
        return directory.complete(items, len(summary.broken))


def _how_to_continue(directory, found, overwrite):
    """What continues a run after an interruption, in words; "" if no shard was made."""
    if len(directory.begin(found.shards)) == len(found.shards):
        return ""
    return f"the same command{', without `overwrite`,' if overwrite else ''} continues it"


def _run(directory, found, pending, runner, workers, batch_size, options, progress):
    done = len(found.shards) - len(pending)
    if done:
        progress.say(f"{done:,} of {len(found.shards):,} shards are there already")
    if not pending:
        return
    if runner == "direct":

        def left():
            return directory.begin(found.shards)

        with _log_of(directory.path) as log:
            local.run(directory, left, workers, batch_size, options, log, progress)
        return
    options = beam.options.pipeline_options.PipelineOptions(options)
    with beam.Pipeline(RUNNERS[runner], options) as pipeline:
        build(pipeline, Job(directory, batch_size), pending)


@contextlib.contextmanager
def _log_of(output):
    """Path of the log, beside the shards, or of a temporary one that is kept if the block raises."""
    if storage.is_local(output):
        yield storage.join(output, directories.LOG)
        return
    folder = tempfile.mkdtemp(prefix="tfhash-")
    yield os.path.join(folder, directories.LOG)
    # The message of an error names it.
    shutil.rmtree(folder, ignore_errors=True)


def _check_source(images, records, dataset):
    if sum(given is not None for given in (images, records, dataset)) != 1:
        raise ValueError("give one of `images`, `records` and `dataset`")
    # Its files would have neither sizes nor times, by which changed ones are found.
    is_name = isinstance(dataset, str) and (dataset == "digits" or not os.path.isdir(dataset))
    if dataset is not None and not is_name:
        raise ValueError(
            "`dataset` must be the name of a dataset of tensorflow-datasets, or digits. Give the folder "
            f"{dataset} as `images`"
        )


def _check(runner, workers, file_format, shard_size, batch_size, output):
    for name, value, known in (
        ("runner", runner, tuple(RUNNERS)),
        ("file_format", file_format, shard_files.FILE_FORMATS),
    ):
        if value not in known:
            raise ValueError(f"`{name}` must be one of {', '.join(known)}. Received: {value!r}")
    for name, value in (
        ("workers", workers),
        ("shard_size", shard_size),
        ("batch_size", batch_size),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"`{name}` must be an integer >= 1. Received: {name}={value!r}")
    if runner != "direct" and workers != 1:
        raise ValueError(
            f"`workers` is for runner direct. Give {runner} its own options in `beam_options`"
        )
    if storage.is_local(output) and os.path.isfile(output):
        raise ValueError(f"`output` must be a directory. Received: the file {output}")
