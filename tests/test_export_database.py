import os

import numpy as np
import pytest

from tfhash.export.database import Database
from tfhash.index import HammingIndex, OtherModelError

CODES = np.array([[1, 0], [2, 0], [3, 0]], "uint8")


def test_items_of_an_index_come_by_id():
    index = HammingIndex(bits=12)
    index.add(CODES, ids=[9, -4, 5], names=["nine", "four", "five"])
    database = Database.of(index, bits=12)
    assert database.ids.tolist() == [-4, 5, 9]
    assert database.codes.tolist() == [[2, 0], [3, 0], [1, 0]]
    assert database.names == ["four", "five", "nine"]
    assert len(database) == 3


def test_arrays_give_the_same_database_as_an_index_of_them():
    database = Database.of((CODES, [9, -4, 5], ["nine", None, "five"]), bits=12)
    assert database.ids.tolist() == [-4, 5, 9]
    assert database.codes.tolist() == [[2, 0], [3, 0], [1, 0]]
    assert database.names == ["", "five", "nine"]


def test_ids_and_names_of_arrays_may_be_left_out():
    database = Database.of((CODES, None, None), bits=12)
    assert database.ids.tolist() == [0, 1, 2]
    assert database.names is None
    assert Database.of((CODES, None, [None] * 3), bits=12).names is None


def test_names_that_are_not_utf8_are_escaped():
    name = os.fsdecode(b"caf\xe9.jpg")
    assert Database.of((CODES[:1], None, [name]), bits=12).names == ["caf\\xe9.jpg"]


def test_an_index_of_another_model_is_refused():
    index = HammingIndex(bits=12, model="mine")
    index.add(CODES)
    assert len(Database.of(index, 12, model="mine")) == 3
    assert len(Database.of(index, 12)) == 3
    with pytest.raises(OtherModelError, match="come from the model 'mine'. Expected: 'yours'"):
        Database.of(index, 12, model="yours")


def test_a_database_is_taken_whatever_model_its_codes_come_from():
    index = HammingIndex(bits=12, model="mine")
    database = Database.of(index, 12)
    assert Database.of(database, 12, model="yours") is database
    with pytest.raises(ValueError, match="must have 16 bits, as those of the model. Received: 12"):
        Database.of(database, 16)


def test_an_index_that_does_not_say_its_model_is_taken():
    assert len(Database.of(HammingIndex(bits=12), 12, model="mine")) == 0


def test_codes_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="must have 12 bits, as those of the model. Received: 16"):
        Database.of(HammingIndex(bits=16), 12)
    with pytest.raises(ValueError, match="`codes` of 17 bits must be packed"):
        Database.of((CODES, None, None), 17)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((CODES, [1, 2, 1], None), "different from each other"),
        ((CODES, [1, 2], None), "one id for each code"),
        ((CODES, None, ["a"]), "one string for each code"),
        ((CODES, None, "abc"), "one string for each code"),
        (CODES, r"HammingIndex or \(codes, ids, names\). Received: ndarray"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, message):
    with pytest.raises(ValueError, match=message):
        Database.of(arrays, 12)


def test_a_line_of_text_has_the_id_and_the_name_of_an_item():
    database = Database.of((CODES, [9, -4, 5], ["a b.jpg", None, "two\nlines\tü"]), bits=12)
    assert database.names_as_lines() == "-4\t\n5\ttwo lines ü\n9\ta b.jpg\n"
    assert Database.of((CODES, None, None), bits=12).names_as_lines() == "0\t\n1\t\n2\t\n"
