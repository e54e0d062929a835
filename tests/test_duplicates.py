"""Pairs and groups within a radius are those of a comparison of all pairs."""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tfhash.index import duplicates
from tfhash_ops import join, join_reference, library

CC = pathlib.Path(__file__).parents[1] / "tfhash_ops" / "cc"

needs_library = pytest.mark.skipif(not library.is_compiled(), reason="no compiled libraries")


def pack(ones):
    return np.packbits(ones.astype(bool), axis=1, bitorder="little")


def make_codes(rng, count, bits, spread):
    """Random codes, some codes many times, clusters around a few, or all equal."""
    centers = rng.integers(0, 2, (5, bits))
    if spread == "equal":
        return pack(np.repeat(centers[:1], count, axis=0))
    if spread == "random":
        return pack(rng.integers(0, 2, (count, bits)))
    ones = centers[rng.integers(0, 5, count)]
    if spread == "clustered":
        ones = ones ^ (rng.random(ones.shape) < 2 / bits)
    return pack(ones)


def by_loop(codes, radius):
    """Pairs by a plain loop over items."""
    found = []
    for first, code in enumerate(codes):
        distances = np.unpackbits(codes[first + 1 :] ^ code, axis=1).sum(axis=1)
        for second in np.flatnonzero(distances <= radius):
            found.append((first, first + 1 + int(second), int(distances[second])))
    return found


def as_tuples(pairs):
    return list(zip(*(part.tolist() for part in pairs)))


def connected(count, pairs):
    """Groups as a list of (members, smallest distance, largest distance)."""
    label = list(range(count))
    for first, second, _ in pairs:
        old, new = sorted((label[first], label[second]), reverse=True)
        label = [new if other == old else other for other in label]
    groups = []
    for name in sorted(set(label)):
        distances = [distance for first, _, distance in pairs if label[first] == name]
        if distances:
            members = [item for item in range(count) if label[item] == name]
            groups.append((members, min(distances), max(distances)))
    return groups


def as_list(groups):
    return [(group.members.tolist(), group.nearest, group.farthest) for group in groups]


SPREADS = ["random", "repeated", "clustered", "equal"]


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("bits", [1, 7, 12, 13, 48, 64, 65, 130, 1024])
def test_pairs_and_groups_are_those_of_a_loop_over_all_pairs(rng, bits, spread):
    codes = make_codes(rng, 70, bits, spread)
    for radius in (0, 1, 2, 4, 9, bits // 2, bits):
        expected = by_loop(codes, radius)
        assert as_tuples(duplicates.pairs(codes, bits, radius)) == expected
        assert duplicates.count_pairs(codes, bits, radius) == len(expected)
        assert as_list(duplicates.groups(codes, bits, radius)) == connected(70, expected)


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("bits", [7, 64, 130])
def test_the_reference_in_numpy_gives_the_same(rng, bits, spread, monkeypatch):
    codes = make_codes(rng, 60, bits, spread)
    expected = {radius: by_loop(codes, radius) for radius in (0, 2, bits)}
    monkeypatch.setattr(join, "_is_compiled", lambda: False)
    monkeypatch.setattr(join_reference, "_BLOCK", 1000)
    for radius, pairs in expected.items():
        assert as_tuples(duplicates.pairs(codes, bits, radius)) == pairs
        assert as_list(duplicates.groups(codes, bits, radius)) == connected(60, pairs)


@pytest.mark.parametrize("radius", range(6))
def test_planted_duplicates_among_many_codes_are_found_and_no_others(rng, radius):
    codes = rng.integers(0, 256, (20_000, 8), "uint8")
    for item, flips in enumerate(range(8)):
        ones = np.unpackbits(codes[item])
        ones[rng.choice(64, flips, replace=False)] ^= 1
        codes[10_000 + item] = np.packbits(ones)
    found = as_tuples(duplicates.pairs(codes, 64, radius))
    # Random codes of 64 bits are hardly ever that close: 2e8 pairs, 5e-13 of them.
    assert found == [(item, 10_000 + item, item) for item in range(radius + 1)]


@pytest.mark.parametrize(("bits", "radius"), [(24, 1), (24, 3), (40, 6), (200, 75)])
def test_many_random_codes_have_the_pairs_that_the_reference_finds(rng, bits, radius):
    codes = make_codes(rng, 3_000, bits, "random")
    stream = join_reference.PairStream(codes, bits, radius)
    assert stream.total > 0
    assert as_tuples(duplicates.pairs(codes, bits, radius)) == as_tuples(stream.next(stream.total))


def test_blocks_hold_the_pairs_in_order_whatever_their_size(rng):
    codes = make_codes(rng, 90, 16, "clustered")
    expected = by_loop(codes, 3)
    for block in (1, 7, len(expected), 10**6):
        parts = list(duplicates.pair_blocks(codes, 16, 3, block=block))
        assert [pair for part in parts for pair in as_tuples(part)] == expected
        assert all(len(part.first) == block for part in parts[:-1])


@needs_library
@pytest.mark.parametrize("most_edges", [1, 50, 10**6])
def test_pairs_that_do_not_fit_into_memory_are_joined_again_in_parts(rng, most_edges):
    codes = make_codes(rng, 60, 16, "clustered")
    expected = by_loop(codes, 4)
    stream = join.open_pairs(codes, 16, 4, most_edges=most_edges)
    assert stream.total == len(expected) > 50
    assert as_tuples(stream.next(len(expected) + 1)) == expected
    assert len(stream.next(1)[0]) == 0


def test_results_do_not_depend_on_the_number_of_threads(rng):
    codes = make_codes(rng, 5_000, 20, "random")
    one = duplicates.pairs(codes, 20, 3, threads=1)
    many = duplicates.pairs(codes, 20, 3, threads=5)
    for left, right in zip(one, many):
        np.testing.assert_array_equal(left, right)


@needs_library
def test_fifty_thousand_equal_codes_are_counted_grouped_and_refused_as_pairs():
    codes = np.full((50_000, 6), 0x5A, "uint8")
    pairs = 50_000 * 49_999 // 2
    assert duplicates.count_pairs(codes, 48, 2) == pairs
    (group,) = duplicates.groups(codes, 48, 2)
    assert (len(group.members), group.nearest, group.farthest) == (50_000, 0, 0)
    with pytest.raises(MemoryError, match=r"1,249,975,000 pairs .* 25\.0 GB\. .*pair_blocks"):
        duplicates.pairs(codes, 48, 2)
    first = next(duplicates.pair_blocks(codes, 48, 2, block=3))
    assert as_tuples(first) == [(0, 1, 0), (0, 2, 0), (0, 3, 0)]


@pytest.mark.parametrize("count", [0, 1])
def test_no_code_and_one_code_have_no_pairs(count):
    codes = np.zeros((count, 2), "uint8")
    assert len(duplicates.pairs(codes, 12, 3).first) == 0
    assert list(duplicates.pair_blocks(codes, 12, 3)) == []
    assert len(duplicates.groups(codes, 12, 3)) == 0


def test_a_group_may_be_wider_than_the_radius_and_says_so():
    codes = np.array([[0b0], [0b11], [0b1111], [0b11111100]], "uint8")
    (group,) = duplicates.groups(codes[:3], bits=8, radius=2)
    assert (group.members.tolist(), group.nearest, group.farthest) == ([0, 1, 2], 2, 2)


def test_groups_are_a_sequence(rng):
    groups = duplicates.groups(make_codes(rng, 50, 12, "repeated"), 12, 0)
    assert len(groups) == len(list(groups)) > 1
    assert groups[-1].members.tolist() == list(groups)[-1].members.tolist()
    first_two = [group.members.tolist() for group in list(groups)[:2]]
    assert [group.members.tolist() for group in groups[:2]] == first_two
    with pytest.raises(IndexError):
        groups[len(groups)]


@pytest.mark.parametrize(
    ("codes", "bits", "radius", "error", "message"),
    [
        (np.zeros((3, 2), "int8"), 16, 1, TypeError, "uint8. Received: int8"),
        (np.zeros((3, 2), "uint8"), 17, 1, ValueError, "[n, ceil(bits / 8)]"),
        (np.zeros(3, "uint8"), 8, 1, ValueError, "codes of shape [3]"),
        (np.zeros((3, 0), "uint8"), 0, 1, ValueError, "bits >= 1"),
        (np.zeros((3, 1), "uint8"), 8, -1, ValueError, "radius = -1"),
        (np.zeros((3, 1), "uint8"), 8, 1.5, TypeError, "`radius` must be an integer"),
        (np.zeros((3, 1), "uint8"), 8, True, TypeError, "`radius` must be an integer"),
        (np.array([[1], [4]], "uint8"), 2, 0, ValueError, "code 1 with a bit set beyond its 2"),
    ],
)
def test_wrong_arguments_are_refused(codes, bits, radius, error, message):
    for function in (duplicates.pairs, duplicates.groups, duplicates.pair_blocks):
        with pytest.raises(error) as raised:
            function(codes, bits, radius)
        assert message in str(raised.value)


def test_blocks_and_threads_must_be_positive():
    codes = np.zeros((3, 1), "uint8")
    with pytest.raises(ValueError, match="block=0"):
        duplicates.pair_blocks(codes, 8, 1, block=0)
    if library.is_compiled():
        with pytest.raises(ValueError, match="threads = 0"):
            duplicates.pairs(codes, 8, 1, threads=0)


def test_huge_radii_and_codes_in_any_memory_order_are_taken(rng):
    codes = make_codes(rng, 40, 24, "random")
    assert len(duplicates.pairs(codes, 24, 10**30).first) == 40 * 39 // 2
    strided = np.asfortranarray(codes)[::2]
    assert as_tuples(duplicates.pairs(strided, 24, 8)) == by_loop(codes[::2], 8)


@needs_library
@pytest.mark.parametrize("kernel", library.supported_cpu_kernels() if library.is_compiled() else [])
def test_every_kernel_of_this_cpu_finds_the_same(rng, kernel, tmp_path):
    codes = make_codes(rng, 3_000, 64, "clustered")
    np.save(tmp_path / "codes.npy", codes)
    program = (
        "import sys, numpy as np; from tfhash.index import duplicates; "
        "pairs = duplicates.pairs(np.load(sys.argv[1]), 64, 3); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules); np.save(sys.argv[2], pairs)"
    )
    subprocess.run(
        [sys.executable, "-c", program, tmp_path / "codes.npy", tmp_path / "pairs.npy"],
        env=os.environ | {"TFHASH_CPU_KERNEL": kernel},
        check=True,
    )
    expected = np.array(duplicates.pairs(codes, 64, 3))
    assert expected.shape[1] > 1000
    np.testing.assert_array_equal(np.load(tmp_path / "pairs.npy"), expected)


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_the_cpp_test_of_the_join_passes_under_sanitizers(tmp_path, sanitizers):
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine")
    # All that the join is made of.
    patterns = ("core/parallel.cc", "join/*.cc")
    sources = [path for pattern in patterns for path in sorted(CC.glob(pattern))]
    flags = ["-std=c++17", "-pthread", "-O1", f"-fsanitize={sanitizers}", f"-I{CC}"]
    flags.append("-fno-sanitize-recover=all")
    objects = [tmp_path / f"{source.stem}.o" for source in sources]

    def compile_source(source, path):
        run("g++", *flags, "-Wall", "-Wextra", "-c", source, "-o", path)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_source, sources, objects))
    run("g++", *flags, *objects, "-o", tmp_path / "test")
    assert run(tmp_path / "test").endswith("all claims hold\n")
