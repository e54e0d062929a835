import pytest

from tfhash.text import listing, printable


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photos", "photos"),
        ("a\r\nb\tc", "a  b c"),
        ("\x1b[31mred", " [31mred"),
        ("\udcff.png", "\\xff.png"),  # a file name that is not valid UTF-8
        ("\ud800.png", "\\ud800.png"),
        ("猫", "猫"),
        ("", ""),
    ],
)
def test_a_name_is_printable_on_one_line(name, expected):
    assert printable(name) == expected
    printable(name).encode("utf-8")


@pytest.mark.parametrize("longest", [3, 4, 7])
def test_a_long_name_is_shortened_in_the_middle(longest):
    name = printable("abcdefghij", longest)
    assert len(name) == longest
    assert name[0] == "a"
    assert name[-1] == "j"


@pytest.mark.parametrize(
    ("count", "end"), [(2, "1"), (3, "1 and 1 more"), (1_002, "and 1,000 more")]
)
def test_a_listing_counts_what_it_does_not_show(count, end):
    assert listing([str(i) for i in range(count)], most=2).endswith(end)
