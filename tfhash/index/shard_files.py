"""The files of a directory of codes: Parquet, which needs pyarrow, or TFRecords, which need TensorFlow."""

from typing import NamedTuple

import numpy as np

from tfhash import codes as code_layout
from tfhash.errors import how_to_install
from tfhash.index.storage import DamagedFileError

FILE_FORMATS = ("parquet", "tfrecord")


class CodeBlock(NamedTuple):
    """Some items of a directory of codes.

    Attributes:
        ids: `int64 [n]`; see `id_of`.
        codes: Packed codes, `uint8 [n, ceil(bits / 8)]`.
        names: A name for each, a list.

    `blocks` returns an iterator of it and has an example.
    """

    ids: np.ndarray
    codes: np.ndarray
    names: list[str]


def write_shard(path, block, file_format):
    """Writes a shard.

    Args:
        path: The file.
        block: `CodeBlock`.
        file_format: One of `FILE_FORMATS`.
    """
    if file_format == "tfrecord":
        _write_records(path, block)
        return
    pa, parquet = _pyarrow()
    length = block.codes.shape[1]
    codes = pa.Array.from_buffers(
        pa.binary(length), len(block.ids), [None, pa.py_buffer(block.codes.tobytes())]
    )
    columns = {"id": pa.array(block.ids, pa.int64()), "name": pa.array(block.names, pa.string())}
    parquet.write_table(pa.table({**columns, "code": codes}), path)


def read_shard(path, bits, file_format):
    """Reads a shard.

    Args:
        path: The file.
        bits: Length of a code.
        file_format: One of `FILE_FORMATS`.

    Returns:
        `CodeBlock`.

    Raises:
        DamagedFileError: If it is missing, cut off, or holds codes of another length.
        ImportError: If pyarrow is not installed.
    """
    length = code_layout.packed_length(bits)
    try:
        if file_format == "tfrecord":
            block = _read_records(path, length)
        else:
            block = _read_parquet(path, length)
        codes = code_layout.as_packed(block.codes, bits)
    except (OSError, ValueError, KeyError) as error:
        raise DamagedFileError(
            f"{path} is missing or damaged: {error}. Remove what is left of it, and give the command "
            "that makes the directory again"
        ) from error
    return block._replace(codes=codes)


def _read_parquet(path, length):
    pa, parquet = _pyarrow()
    # Not read_table, which takes the path for a data set and looks for partitions in its name.
    with parquet.ParquetFile(path) as file:
        table = file.read()
    column = table["code"].combine_chunks()
    if column.type != pa.binary(length):
        raise ValueError(f"its codes are {column.type}, not of {length} bytes")
    data = np.frombuffer(column.buffers()[1], np.uint8) if len(column) else np.empty(0, np.uint8)
    start = length * column.offset
    codes = data[start : start + length * len(column)].reshape(-1, length)
    return CodeBlock(table["id"].to_numpy(), codes, table["name"].to_pylist())


def _write_records(path, block):
    import tensorflow as tf

    def of_bytes(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    with tf.io.TFRecordWriter(str(path)) as file:
        for item, code, name in zip(block.ids.tolist(), block.codes, block.names):
            feature = {
                "id": tf.train.Feature(int64_list=tf.train.Int64List(value=[item])),
                "name": of_bytes(name.encode("utf-8")),
                "code": of_bytes(code.tobytes()),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            file.write(example.SerializeToString())


def _read_records(path, length):
    import tensorflow as tf

    ids, names, codes = [], [], [b""]
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            ids.append(feature["id"].int64_list.value[0])
            names.append(feature["name"].bytes_list.value[0].decode("utf-8"))
            codes.append(feature["code"].bytes_list.value[0])
    except tf.errors.OpError as error:
        raise OSError(str(error)) from None
    array = np.frombuffer(b"".join(codes), np.uint8).reshape(-1, length)
    return CodeBlock(np.array(ids, np.int64), array, names)


def _pyarrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"shards of codes need pyarrow. {how_to_install('parquet')}") from error
    return pyarrow, pyarrow.parquet
