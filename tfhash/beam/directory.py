"""The directory that a run writes: which shards are there, and which are still to be made.

Beside what `tfhash.index.shards` describes, it holds

| file | holds |
| --- | --- |
| `codes-00000-of-00008.inputs`, ... | what a shard is made of, JSON |
| `codes-00000-of-00008.report`, ... | JSON, written after the shard: which inputs and model made it, and the bad inputs |
| `run.log` | what Beam and its workers wrote |
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import re

from tfhash import files
from tfhash.beam import storage
from tfhash.index import OtherModelError, shards
from tfhash.index.shard_files import read_shard, write_shard

LOG = "run.log"
_LOCK = ".lock"

# Names of the files that a run writes, and removes; others that begin like them are left alone.
_OURS = re.compile(r"codes-\d{5,}-of-\d{5,}\.(parquet|tfrecord|inputs|report)")


@dataclasses.dataclass(frozen=True)
class Directory:
    """A directory of shards.

    Attributes:
        path: Its path.
        manifest: `tfhash.index.shards.Manifest`.
    """

    path: str
    manifest: shards.Manifest

    @contextlib.contextmanager
    def locked(self):
        """Keeps other runs out while the block runs, on this machine.

        Raises:
            ValueError: If there is another one.
        """
        if not storage.is_local(self.path):
            yield
            return
        os.makedirs(self.path, exist_ok=True)
        with open(storage.join(self.path, _LOCK), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"another process is writing to {self.path}. Wait until it has finished"
                ) from None
            except OSError:  # a file system without locks
                pass
            files.remove_abandoned(self.path)
            yield

    def begin(self, parts, overwrite=False, retry_bad=False):
        """Writes the manifest and the inputs of the shards, where they are not there yet.

        Args:
            parts: The inputs of each shard, as in `tfhash.beam.inputs.Inputs`.
            overwrite: Remove what another run left; without a manifest, that is done anyway.
            retry_bad: Make shards with bad inputs again, for they may have been mended.

        Returns:
            Numbers of the shards that are to be made.

        Raises:
            OtherModelError: If the directory holds codes of another model.
            ValueError: If it holds codes of other inputs, or made with other settings.
        """
        before = self._read_manifest()
        if before is None or overwrite:
            # Without a manifest, files are what an interrupted `overwrite` left.
            self._remove_all()
            before = None
        else:
            self._check_same(before)
        sizes = self._sizes()
        pending = []
        for number, entries in enumerate(parts):
            text = json.dumps(entries)
            path = self._path(number, "inputs")
            if path not in sizes or storage.read(path).decode() != text:
                storage.write(path, text)
            report = self.report(number, _digest(text), sizes)
            if report is not None and retry_bad and report["bad"]:
                # So that the shard is still to be made if this run is killed or started again.
                storage.remove([self._path(number, "report")])
                report = None
            if report is None:
                pending.append(number)
        # Last, so that a directory with a manifest has all inputs.
        if before is None or pending:
            self._write(self.manifest)
        return pending

    def entries(self, number):
        """The inputs of a shard, and their digest."""
        text = storage.read(self._path(number, "inputs")).decode()
        return json.loads(text), _digest(text)

    def write_shard(self, number, block, bad, digest):
        """Writes a shard, and then its report.

        Args:
            number: Which shard.
            block: `tfhash.index.shards.CodeBlock`.
            bad: Pairs of the name of an input that could not be read, and why.
            digest: Of the inputs that it was made of.
        """
        path = self._path(number, self.manifest.file_format)
        with storage.whole_file(path) as temporary:
            write_shard(temporary, block, self.manifest.file_format)
            size = temporary.stat().st_size
        report = {
            "made_of": self._made_of(digest),
            "bytes": size,
            "items": len(block.ids),
            "bad": bad,
        }
        storage.write(self._path(number, "report"), json.dumps(report))

    def report(self, number, digest, sizes):
        """The report of a shard that is there; `None` if it has to be made.

        Args:
            number: Which shard.
            digest: Of its inputs.
            sizes: Dictionary from path to size of the files of the directory.
        """
        data, path = (self._path(number, end) for end in (self.manifest.file_format, "report"))
        if data not in sizes or path not in sizes:
            return None
        try:
            report = json.loads(storage.read(path))
            is_this = report["made_of"] == self._made_of(digest) and report["bytes"] == sizes[data]
        except (ValueError, KeyError, TypeError):
            return None
        return report if is_this else None

    def count_reports(self):
        """How many shards have a report."""
        return sum(path.endswith(".report") for path in self._sizes())

    def collect(self):
        """What the reports of all shards say.

        Returns:
            The number of codes, and pairs of the name of an input that could not be read, and why.

        Raises:
            OSError: If a shard is missing.
        """
        sizes, items, bad = self._sizes(), 0, []
        for number in range(self.manifest.shards):
            report = self.report(number, self.entries(number)[1], sizes)
            if report is None:
                raise OSError(
                    f"the runner has ended without shard {number} in {self.path}. Give the same "
                    "command again, without `overwrite`, to make what is missing"
                )
            items += report["items"]
            bad += [tuple(item) for item in report["bad"]]
        return items, bad

    def complete(self, items, bad):
        """Marks the directory as complete.

        Args:
            items, bad: Numbers of codes, and of images that could not be read.

        Returns:
            The `Manifest`.

        Raises:
            ValueError: If ids come twice.
        """
        manifest = dataclasses.replace(self.manifest, complete=True, items=items, bad=bad)
        if self._read_manifest() != manifest:
            shards.check_distinct(self._ids)
            self._write(manifest)
        return manifest

    def _ids(self):
        for name in self.manifest.files():
            with storage.local_copy(storage.join(self.path, name)) as copy:
                yield read_shard(copy, self.manifest.bits, self.manifest.file_format).ids

    def _made_of(self, digest):
        """What a shard depends on, besides its number: a shard of anything else is made again."""
        manifest = self.manifest
        return {
            "inputs": digest,
            "model": manifest.model,
            "source": _digest(json.dumps(manifest.source, sort_keys=True)),
            "file_format": manifest.file_format,
            "bits": manifest.bits,
        }

    def _path(self, number, ending):
        name = shards.shard_name(number, self.manifest.shards, ending)
        return storage.join(self.path, name)

    def _sizes(self):
        sizes = storage.sizes(self.path, "codes-")
        return {path: size for path, size in sizes.items() if _OURS.fullmatch(_name_of(path))}

    def _write(self, manifest):
        storage.write(storage.join(self.path, shards.MANIFEST), manifest.to_json())

    def _read_manifest(self):
        path = storage.join(self.path, shards.MANIFEST)
        if path not in storage.sizes(self.path, shards.MANIFEST):
            return None
        return shards.Manifest.from_json(storage.read(path), path)

    def _check_same(self, before):
        now = self.manifest
        if before.model != now.model:
            raise OtherModelError(
                f"{self.path} holds codes of another model. Give another `output`, or pass "
                "`overwrite` to encode all images again"
            )
        for name, what in _SETTINGS.items():
            if getattr(before, name) != getattr(now, name):
                raise ValueError(
                    f"{self.path} holds codes made with {what}. Give another `output`, or pass "
                    "`overwrite` to encode all images again"
                )

    def _remove_all(self):
        # The manifest goes first: while it is there, what is left is taken for its shards.
        manifest = storage.join(self.path, shards.MANIFEST)
        if manifest in storage.sizes(self.path, shards.MANIFEST):
            storage.remove([manifest])
        storage.remove(list(self._sizes()))


# What must not change while a directory is made, in words.
_SETTINGS = {
    "file_format": "another `file_format`",
    "source": "other images or another way to read them",
    "inputs": "another list of images: some were added, removed or renamed since",
    "shards": "another `shard_size`",
}


def _name_of(path):
    return path.rpartition("/")[2]


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()
