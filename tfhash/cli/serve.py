r"""
  tfhash serve --model=runs/photos-32
  tfhash serve --model=runs/photos-32 --index=photos.index --port=8501
  tfhash serve --index=photos.index --name=photos --max_batch=64 --batch_timeout_ms=5

Answers requests as TensorFlow Serving does (REST), without TensorFlow Serving: encodes images, and
with --index finds the nearest ones of an index. Only programs on this machine are answered, unless
--host says otherwise. Stop it with Ctrl-C, or by SIGTERM: it finishes what it has begun.

From Python:

  client = tfhash.serving.Client("http://127.0.0.1:8501", "photos-32")
  client.encode(["a.jpg"])
  client.search(["a.jpg"], k=10)

A file that cannot be decoded fails its request with an error that names it; with --on_error=mask,
`valid` is false for it.

Needs `pip install '.[serving]'`. An index that is updated is read when the server starts again.
"""

import dataclasses
import sys

from tfhash.cli import terminal
from tfhash.cli.address import Host, port_setting, warn_of_other_machines
from tfhash.cli.model_flag import Model
from tfhash.cli.require import check_bounds
from tfhash.experiments.serving import names
from tfhash.experiments.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Index(Settings):
    index: str | None = setting(
        None, "File that `tfhash index` wrote with the model, to search. It remembers its model."
    )


@dataclasses.dataclass(frozen=True)
class Files(Settings):
    on_error: str = setting(
        "fail",
        "What to do with a file that cannot be decoded: fail the request, or mask the file.",
        choices=("fail", "mask"),
    )


@dataclasses.dataclass(frozen=True)
class Address(Host):
    port: int = port_setting(8501)
    name: str | None = setting(
        None, "Name of the model for clients; by default that of its run or file."
    )


@dataclasses.dataclass(frozen=True)
class Batching(Settings):
    max_batch: int = setting(32, "Images that the model takes at once.", at_least=1, at_most=4096)
    batch_timeout_ms: float = setting(
        2.0,
        "Milliseconds that images wait at most for those of other requests.",
        at_least=0,
        at_most=10_000,
    )


GROUPS = {
    "Model and index": (Model, Index),
    "Image files": (Files,),
    "Address": (Address,),
    "Batches of concurrent requests": (Batching,),
}


def check(given):
    check_bounds(given, GROUPS)
    if given.get("model") is None and given.get("index") is None:
        raise ValueError("give `model`, or `index`, which remembers its model")
    if given.get("model") is not None:
        names.name_of(given.get("name"), given["model"])
    elif given.get("name") is not None:
        names.check(given["name"])


def imports_tensorflow_first(given):
    """Not before the port is held: TensorFlow and the model take seconds."""
    del given
    return False


def check_paths(given):
    from tfhash.experiments.image_index import ImageIndex
    from tfhash.experiments.run_directory import RunDirectory
    from tfhash.experiments.searching import path_of_model

    if given.get("index") is None:
        RunDirectory.of_model(given["model"]).check_model()
        return
    index = ImageIndex.load(given["index"])
    if path := given.get("model") or index.origin.model_path:
        names.name_of(given.get("name"), path)
    path_of_model(index, path)


def run(given, command_line):
    del command_line
    from tfhash.experiments.serving import running

    address = Address.pick(given)
    with running.listen(address.host, address.port) as listening:
        print("Loading the model", file=sys.stderr, flush=True)
        terminal.import_libraries()
        _serve(given, address, listening)


def _serve(given, address, listening):
    from tfhash.cli.flags import named_as_flags
    from tfhash.experiments import ImageIndex, RunDirectory, searching
    from tfhash.experiments.serving import running
    from tfhash.experiments.serving.app import App
    from tfhash.experiments.serving.local import is_local
    from tfhash.experiments.serving.service import Service

    batching = Batching.pick(given)
    index, path = None, given.get("model")
    if given.get("index") is not None:
        index = ImageIndex.load(given["index"])
        path = path or index.origin.model_path
        model = searching.model_of(index, path)
        for note in searching.notes_on_model(index):
            print(named_as_flags(note, ["model"]), file=sys.stderr)
    else:
        model = RunDirectory.of_model(path).load_model()
    service = Service(model, names.name_of(address.name, path), index, Files.pick(given).on_error)
    warn_of_other_machines(listening, address.host, "encode and search")

    def when_ready():
        print("\n".join(_welcome(service, running.url_of(listening))), flush=True)

    app = App(
        service,
        batching.max_batch,
        batching.batch_timeout_ms / 1000,
        is_local=is_local(listening.getsockname()[0]),
    )
    running.serve(app, listening, when_ready)
    print("stopped")


def _welcome(service, url):
    from tfhash.export import examples

    where = f"{url}/v1/models/{service.name}"
    lines = [f"serving {service.name}, codes of {service.bits} bits, at {where}"]
    if service.index is not None:
        lines.append(f"searching {len(service.index.index):,} items")
    name, more = ("encode_bytes", {}) if service.index is None else ("search_bytes", {"k": 10})
    image = {"image_bytes": {"b64": examples.PHOTO_IN_BASE64}, **more}
    line = examples.curl(f"{where}:predict", {"signature_name": name, "instances": [image]})
    return [*lines, f"try: {line}"]
