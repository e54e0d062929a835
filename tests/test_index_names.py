"""Names come with their items, and go with them."""

import os

import numpy as np
import pytest

import tfhash_ops
from tfhash.index import HammingIndex
from tfhash.index.reference import NumpyIndex


@pytest.fixture(params=["compiled", "NumPy"])
def index(request):
    if request.param == "compiled" and not tfhash_ops.is_compiled():
        pytest.skip("tfhash was installed with TFHASH_BUILD_OPS=0")
    index = HammingIndex(8)
    if request.param == "NumPy":
        index._core = NumpyIndex(8, False)
    index.add(np.array([[0], [1]], "uint8"), ids=[3, 5], names=["three", "five"])
    return index


CODES = np.array([[2], [3]], "uint8")


@pytest.mark.parametrize("ids", [None, [9, 4]])
def test_an_item_has_its_name_as_soon_as_a_search_can_find_it(index, monkeypatch, ids):
    add, seen = index._core.add, []

    def watched(*arguments):
        first = add(*arguments)
        # As another thread sees it now.
        seen.append(index.names_of(index.search(CODES, 1).ids).tolist())
        return first

    monkeypatch.setattr(index._core, "add", watched)
    index.add(CODES, ids=ids, names=["x", "y"])
    assert seen == [[["x"], ["y"]]]
    assert dict(zip(index.ids.tolist(), index.names)) == {
        3: "three", 5: "five", **dict(zip(ids or [6, 7], ["x", "y"]))
    }  # fmt: skip


def test_an_item_has_its_name_as_long_as_a_search_can_find_it(index, monkeypatch):
    remove, seen = index._core.remove, []

    def watched(*arguments):
        seen.append(index.names)
        remove(*arguments)

    monkeypatch.setattr(index._core, "remove", watched)
    index.remove([3])
    assert seen == [["three", "five"]]
    assert index.names_of([3, 5]).tolist() == [None, "five"]


def test_names_of_items_that_were_not_added_are_not_kept(index, monkeypatch, tmp_path):
    index.save(tmp_path / "index")
    index.remove([3])
    loaded = HammingIndex.load(tmp_path / "index")
    loaded.remove([3])
    for each in (index, loaded):
        with pytest.raises(ValueError, match="id 5 again"):
            each.add(CODES, ids=[7, 5], names=["x", "y"])

        def fail(*_):
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr(each._core, "add", fail)
            for ids in (None, [3, 8]):
                with pytest.raises(MemoryError):
                    each.add(CODES, ids=ids, names=["x", "y"])
        assert each.names_of([3, 5, 6, 7, 8]).tolist() == [None, "five", None, None, None]
        each.add(CODES, ids=[3, 6])
        assert each.names == [None, "five", None]


def test_an_interruption_after_adding_keeps_the_names(index, monkeypatch):
    add = index._core.add

    def interrupted(*arguments):
        add(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(index._core, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index.add(CODES, names=["x", "y"])
    assert index.names == ["three", "five", "x", "y"]


@pytest.mark.parametrize("name", ["\ud800x", "\udc7f", "a\ud83d\ude00", "\udcc3\udca9"])
def test_names_that_no_file_could_hold_are_refused(index, name):
    with pytest.raises(ValueError, match="UTF-8 cannot hold"):
        index.add(CODES, names=["x", name])
    assert index.ids.tolist() == [3, 5]
    assert index.names == ["three", "five"]


def test_names_of_files_that_are_not_utf8_come_back(index, tmp_path):
    names = [os.fsdecode(b"caf\xe9.png"), "\udcff\udc80 é 写"]
    index.add(CODES, names=names)
    index.save(tmp_path / "index")
    assert HammingIndex.load(tmp_path / "index").names[2:] == names
