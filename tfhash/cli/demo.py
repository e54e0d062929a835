r"""
  tfhash demo --index=photos.index
  tfhash demo --index=photos.index --model=runs/photos-32 --port=9000
  tfhash demo --index=photos.index --images=/mnt/photos    # the folder was moved

Opens an index to look at: a page on this machine where you drop an image and see its code and the
nearest images, with sliders for the radius and their number, and groups of duplicates. Works offline.
Only programs on this machine are answered, unless --host says otherwise. Stop it with Ctrl-C.

From Python:

  with tfhash.experiments.demo("photos.index") as demo:
      print(demo.url)
      input("Press Enter to stop")

Shows files of the index and no others; files that are missing are counted. Nothing is written.
Needs `pip install '.[demo]'` in a checkout of tfhash.
"""

import dataclasses
import sys

from tfhash.cli import terminal
from tfhash.cli.address import Host, port_setting, warn_of_other_machines
from tfhash.cli.model_flag import Model
from tfhash.cli.require import check_bounds, require
from tfhash.experiments.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Index(Settings):
    index: str | None = setting(
        None, "File that `tfhash index` wrote. It remembers its model and its images."
    )


@dataclasses.dataclass(frozen=True)
class Images(Settings):
    images: str | None = setting(
        None, "Where the folder of the indexed images is now, if it was moved."
    )
    follow_links: bool = setting(
        False, "Also show what links in the folder lead to, if it is what was indexed."
    )


@dataclasses.dataclass(frozen=True)
class Address(Host):
    port: int = port_setting(8502)


GROUPS = {"Index and model": (Index, Model), "Images": (Images,), "Address": (Address,)}


def check(given):
    require(given, "index")
    check_bounds(given, GROUPS)


def imports_tensorflow_first(given):
    """Not before the port is held: TensorFlow and the model take seconds."""
    del given
    return False


def check_paths(given):
    from tfhash.experiments.image_index import ImageIndex
    from tfhash.experiments.searching import path_of_model

    index = ImageIndex.load(given["index"])
    index.find_folder(given.get("images"))
    if given.get("model") is not None:
        path_of_model(index, given["model"])


def run(given, command_line):
    del command_line
    from tfhash.cli.flags import named_as_flags
    from tfhash.experiments import demonstration
    from tfhash.experiments.serving import running

    address, images = Address.pick(given), Images.pick(given)
    with running.listen(address.host, address.port) as listening:
        print("Loading the index and its model", file=sys.stderr, flush=True)
        terminal.import_libraries()
        app, notes = demonstration.prepare(
            listening, given["index"], given.get("model"), images.images, images.follow_links
        )
        for note in notes:
            print(f"note: {named_as_flags(note, ['model'])}", file=sys.stderr)
        warn_of_other_machines(listening, address.host, "see the images")
        url = running.url_of(listening)
        running.serve(app, listening, lambda: print(f"Open {url}", flush=True))
    print("stopped")
