"""Items with several labels: how they are divided, drawn and prepared by tensorflow-datasets."""

import numpy as np
import pytest
from commands import row_of

import tfhash
from tfhash import data, labels
from tfhash.cli import main
from tfhash.data import PartlyLabeledBatches
from tfhash.data.content import count_contents, digest, split_by_content
from tfhash.data.sampling import epoch_order
from tfhash.experiments.pictures import first_of_each_class


def digests_of(count, salt=0):
    return [digest(bytes([salt, i % 256, i // 256])) for i in range(count)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.array([[1, 0, 1], [0, 0, 0], [0, 2, 0]]), [[0, 2], [], [1]]),
        (np.array([2, 0, -1]), [[2], [0], [-1]]),
        (np.array([[2], [0]]), [[2], [0]]),
        (np.zeros((0, 3)), []),
    ],
)
def test_labels_are_listed_whatever_their_form(given, expected):
    assert labels.lists(given) == expected


@pytest.mark.parametrize("multi_hot", [True, False])
def test_shared_labels_are_counted_and_similar_items_share_one(rng, multi_hot):
    left, right = (
        rng.integers(0, 2, (n, 4)) if multi_hot else rng.integers(0, 3, n) for n in (7, 9)
    )
    sets = [[set(of_item) for of_item in labels.lists(side)] for side in (left, right)]
    expected = [[len(a & b) for b in sets[1]] for a in sets[0]]
    found = labels.count_shared(left, right)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found > 0, np.asarray(labels.similar(left, right)))


@pytest.mark.parametrize("salt", range(20))
def test_several_labels_are_divided_so_that_every_class_can_be_asked_for(salt):
    rng = np.random.default_rng(salt)
    # Class c has a share 1 / (c + 2) of the items, down to a few.
    marks = rng.random((150, 25)) < 1 / (np.arange(25) + 2) ** 1.3
    marks[~marks.any(axis=1), 0] = True
    parts = split_by_content(digests_of(150, salt), marks, 0.2, 0.1)
    assert sorted(np.concatenate(parts)) == list(range(150))
    queries, validation, train = (marks[part].any(axis=0) for part in parts)
    counts = marks.sum(axis=0)
    assert train[counts >= 1].all()
    assert queries[counts >= 2].all()
    assert not queries[counts == 1].any()
    assert validation[counts >= 3].mean() > 0.9


def test_a_class_of_one_image_is_trained_on_whatever_its_other_labels_say():
    for salt in range(20):
        marks = np.array([[1, i == 0] for i in range(10)])
        queries, _, train = split_by_content(digests_of(10, salt), marks, 0.6, 0.2)
        assert 0 in train
        assert len(queries)


def test_a_class_stays_without_queries_where_a_rarer_one_needs_its_images():
    # Both images of the first class are the only ones of another class.
    marks = np.array([[1, 1, 0], [1, 0, 1]])
    queries, validation, train = split_by_content(digests_of(2), marks, 0.5, 0.5)
    assert (len(queries), len(validation), sorted(train)) == (0, 0, [0, 1])


def test_the_division_does_not_depend_on_the_order_of_items(rng):
    marks, digests = rng.random((60, 6)) < 0.2, np.array(digests_of(60))
    order = rng.permutation(60)
    straight = split_by_content(digests, marks, 0.3, 0.2)
    shuffled = split_by_content(digests[order], marks[order], 0.3, 0.2)
    for before, after in zip(straight, shuffled):
        np.testing.assert_array_equal(before, order[after])


def test_one_column_of_each_item_is_divided_as_integers_are():
    numbers = np.arange(90) % 7
    for salt in range(5):
        pairs = zip(
            split_by_content(digests_of(90, salt), numbers, 0.2, 0.1),
            split_by_content(digests_of(90, salt), np.eye(7)[numbers], 0.2, 0.1),
        )
        for integers, multi_hot in pairs:
            np.testing.assert_array_equal(integers, multi_hot)


def test_contents_are_counted_once():
    digests = ["aa", "aa", "bb", "cc"]
    assert count_contents(digests, [0, 0, 0, 2]) == {0: 2, 2: 1}
    marks = np.array([[1, 1], [1, 0], [0, 1], [0, 1]])
    assert count_contents(digests, marks) == {0: 1, 1: 3}


def test_a_rare_class_keeps_its_items_in_batches_of_classes_x_items():
    # All 200 items have the common label, and 20 of them a rare one too.
    marks = np.array([[1, i < 20] for i in range(200)])
    longest = []
    for epoch in range(20):
        is_rare = epoch_order(marks, 0, epoch, items_per_class=20) < 20
        runs = "".join("r" if rare else " " for rare in is_rare).split()
        longest.append(max(map(len, runs)))
    # The rare label is drawn with weight 10 of 11: some 18 items side by side, not 10.
    assert 16 < np.mean(longest) <= 20


def test_classes_of_one_item_are_trained_on_too():
    marks = np.eye(9, dtype=int)
    for items_per_class in (2, 50):
        order = epoch_order(marks, 0, 0, items_per_class)
        assert sorted(order) == list(range(9))


def test_pseudo_labels_are_for_items_of_one_class():
    with pytest.raises(ValueError, match=r"must be integers \[n\].*Received: .* \(2, 3\)"):
        PartlyLabeledBatches(np.zeros((2, 8, 8, 1)), np.eye(3)[:2], 1, seed=0)


def test_a_picture_shows_a_query_of_each_class():
    marks = np.array([[0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 1]])
    assert first_of_each_class(marks).tolist() == [1, 0, 2]
    assert first_of_each_class(np.array([3, 1, 3])).tolist() == [1, 0]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A dataset prepared by tensorflow-datasets whose items have several labels, or none."""
    import tensorflow_datasets as tfds

    names = tfds.features.ClassLabel(names=["ant", "bee", "cat", "dog"])

    class Scenes(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(8, 8, 3)),
                "objects": tfds.features.Sequence({"label": names, "area": np.int64}),
                "tags": tfds.features.Sequence(names),
                "scene": {"label": names},
                "count": np.int64,
            }
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {
                "train": self._generate_examples(60, 0),
                "validation": self._generate_examples(20, 1),
            }

        def _generate_examples(self, count, seed):
            rng = np.random.default_rng(seed)
            for i in range(count):
                # Every tenth item has none, and a class may be there twice.
                found = [] if i % 10 == 0 else [i % 4, (i + seed) % 4, i % 3]
                yield (
                    i,
                    {
                        "image": rng.integers(0, 256, (8, 8, 3), "uint8"),
                        "objects": [{"label": label, "area": 1} for label in found],
                        "tags": found,
                        "scene": {"label": i % 4},
                        "count": len(found),
                    },
                )

    data_dir = tmp_path_factory.mktemp("datasets")
    builder = Scenes(data_dir=data_dir)
    builder.download_and_prepare()
    return data_dir, builder


@pytest.mark.parametrize("key", ["objects/label", "tags"])
def test_a_sequence_of_class_labels_becomes_multi_hot(scenes, key):
    data_dir, builder = scenes
    splits = data.load("scenes", data_dir=data_dir, label_key=key)
    assert splits.classes == ["ant", "bee", "cat", "dog"]
    stored = {
        f"scenes/{split}/{i}": sorted(set(item["tags"].tolist()))
        for split in ("train", "validation")
        for i, item in enumerate(builder.as_dataset(split).as_numpy_iterator())
    }
    for part in (splits.train, splits.queries, splits.database):
        assert labels.lists(part.labels) == [stored[name] for name in part.names]
    # Items without a label are left out and counted.
    assert (len(splits.database), len(splits.queries)) == (54, 18)
    assert splits.summary.notes[0] == "8 of 80 items have no label: left out"
    assert str(splits.summary).startswith("note: 8 of 80 items")


def test_a_run_and_its_evaluation_take_the_labels_of_a_sequence(scenes, tmp_path, capsys):
    data_dir, _ = scenes
    command = ["--dataset=scenes", f"--data_dir={data_dir}", "--label_key=objects/label"]
    command += ["--backbone=mlp", "--width=4", "--bits=9", "--pretrain_epochs=0"]
    command += ["--finetune_epochs=1", "--baselines=none", f"--output_dir={tmp_path / 'run'}"]
    assert main(["train", *command]) == 0
    printed = capsys.readouterr().out
    assert "note: 8 of 80 items have no label: left out" in printed
    report = tfhash.experiments.Run(tmp_path / "run").report
    splits = data.load("scenes", data_dir=data_dir, label_key="objects/label")
    assert report["settings"]["label_key"] == "objects/label"
    assert report["protocol"]["fingerprint"] == splits.fingerprint()
    assert report["protocol"]["labels_per_item"] == splits.database.labels.sum(axis=1).mean()
    found = f"{report['metrics']['ndcg_at_100']:.4f}"
    assert row_of(printed, "nDCG at 100")[0] == found
    with np.load(tmp_path / "run" / "database.npz", allow_pickle=False) as database:
        np.testing.assert_array_equal(database["labels"], splits.database.labels)
    again = tfhash.experiments.evaluate(tmp_path / "run", "scenes", data_dir=data_dir, verbose=0)
    assert again["metrics"] == report["metrics"]


def test_a_class_label_of_another_name_gives_integers(scenes):
    data_dir, _ = scenes
    splits = data.load("scenes", data_dir=data_dir, label_key="scene/label")
    assert not splits.has_several_labels
    assert np.bincount(splits.database.labels).tolist() == [15] * 4


@pytest.mark.parametrize("key", ["label", "count", "objects", "objects/area", ""])
def test_features_that_hold_no_class_labels_are_refused(scenes, key):
    message = "a feature of 'scenes' that holds class labels: objects/label, tags, scene/label. Received: "
    with pytest.raises(ValueError, match=f"{message}label_key='{key}'"):
        data.load("scenes", data_dir=scenes[0], label_key=key)


def test_a_dataset_without_a_choice_of_its_own_says_what_to_pass(scenes):
    with pytest.raises(
        ValueError, match="Pass `label_key`, one of objects/label, tags, scene/label"
    ):
        data.load("scenes", data_dir=scenes[0])


def test_images_alone_need_no_labels(scenes):
    split, _ = data.load_images("scenes", (8, 8, 3), split="validation", data_dir=scenes[0])
    assert len(split.images()) == 20
    assert split.labels.tolist() == [-1] * 20


@pytest.mark.parametrize("source", ["digits", "photos/"])
def test_a_label_key_needs_a_dataset_of_tensorflow_datasets(source):
    with pytest.raises(ValueError, match="a feature of a dataset of tensorflow-datasets. Received"):
        data.load(source, label_key="tags")
