"""The figures in the documentation are those of the committed reports."""

import dataclasses
import json
import pathlib
import statistics

import accuracy
import pytest
from tables import (
    DTYPE_COLUMNS,
    LOSSES_COLUMNS,
    MEMORY_COLUMNS,
    THROUGHPUT_COLUMNS,
    TRAINING_COLUMNS,
    compared,
    dtypes,
    evaluation,
    finished,
    header,
    losses,
    memory,
    row,
    spread,
    throughput,
    training,
)

from tfhash import data
from tfhash.experiments import choose_preset, make_recipe
from tfhash.losses import ExponentiatedHashingLoss

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"
README = (BENCHMARKS.parent / "README.md").read_text(encoding="utf-8")
# Prose, wherever its lines break.
README_PROSE = " ".join(README.split())
BENCHMARKS_README = (BENCHMARKS / "README.md").read_text(encoding="utf-8")

# Reports of `seeds.py`, in the order of the README, and the shape of their images.
TRAINED = {
    "mnist-12": (28, 28, 1),
    "cifar10-12": (32, 32, 3),
    "cifar10-cnnh-48": (32, 32, 3),
    "cifar10-cnnh-48-unlabeled": (32, 32, 3),
    "digits-12": (8, 8, 1),
}

# Beside the exponentiated one.
OTHER_LOSSES = ("DPSH", "HashNet", "DCH", "DTSH", "CSQ", "OrthoHash", "GreedyHash")

# Of the reports of `hamming.py`, in the order of the columns.
CPUS = ("zen3", "emerald-rapids", "zen5")


def read_report(name):
    return json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))


def test_the_readme_quotes_what_training_reached():
    rows = [training(name, read_report(name)) for name in TRAINED]
    assert header(TRAINING_COLUMNS) + "".join(rows) in README


@pytest.mark.parametrize(("name", "shape"), TRAINED.items())
def test_what_was_trained_is_what_the_command_trains_today(name, shape):
    command = read_report(name)["command"]
    given = [flag.removeprefix("--").split("=")[0] for flag in command[2:]]
    for seed, report in read_report(name)["seeds"].items():
        assert report["settings"]["seed"] == int(seed)
        assert report["settings"]["scale"] == ExponentiatedHashingLoss().scale
        items = report["protocol"]["train_items"]
        unlabeled = report["protocol"].get("unlabeled_items", 0)
        preset, _ = choose_preset(shape)
        recipe = make_recipe(preset, shape, items, unlabeled=unlabeled)
        for choice, value in dataclasses.asdict(recipe).items():
            assert choice not in given
            if choice == "items_per_class":  # newer than the reports, which took random batches
                assert value == report["settings"].get(choice, 0)
                continue
            assert report["settings"][choice] == value, choice


@pytest.mark.parametrize("name", TRAINED)
def test_what_was_trained_and_asked_are_the_items_of_today(name, shared_datasets):
    for report in read_report(name)["seeds"].values():
        protocol = report["protocol"]
        splits = data.load(
            protocol["dataset"],
            data_dir=shared_datasets,
            protocol=protocol["name"],
        )
        assert splits.fingerprint() == protocol["fingerprint"]


def test_figures_are_beyond_those_that_were_to_be_passed():
    def mean(name):
        seeds = read_report(name)["seeds"].values()
        return statistics.mean(report["metrics"]["map"] for report in seeds)

    assert mean("mnist-12") >= 0.995
    assert mean("cifar10-12") >= 0.88
    assert mean("cifar10-cnnh-48") > 0.581
    assert mean("cifar10-cnnh-48-unlabeled") > mean("cifar10-cnnh-48")


def test_the_losses_are_compared_as_their_reports_say():
    titles = {"accuracy-mnist": "MNIST", "accuracy-cifar10": "CIFAR-10 (JPEG copy)"}
    assert compared({title: read_report(name) for name, title in titles.items()}) in README
    for name in titles:
        assert header(LOSSES_COLUMNS) + losses(read_report(name)) in BENCHMARKS_README


@pytest.mark.parametrize("name", ["accuracy-cifar10", "accuracy-mnist"])
def test_the_losses_were_compared_as_they_would_be_today(name, shared_datasets):
    report = read_report(name)
    settings = report["settings"]
    splits = data.load(settings["dataset"], data_dir=shared_datasets)
    assert settings["fingerprint"] == splits.fingerprint()
    recipe = dataclasses.asdict(accuracy.RECIPES[settings["dataset"]])
    # Newer than the reports, which took random batches.
    assert recipe.pop("items_per_class") == settings.get("items_per_class", 0)
    assert {choice: settings[choice] for choice in recipe} == recipe
    assert list(report["cells"]) == list(accuracy.ARMS)
    for name, arm in accuracy.ARMS.items():
        assert list(report["cells"][name]) == ["0", "1", "2"]
        for cell in report["cells"][name].values():
            assert cell["arm"] == accuracy.describe(arm, len(splits.classes))


@pytest.mark.parametrize("name", ["accuracy-cifar10", "accuracy-mnist"])
def test_the_exponentiated_loss_is_ahead_or_within_a_standard_deviation_of_the_best(name):
    report = read_report(name)
    values = {
        arm: [cell["metrics"]["map"] for cell in finished(report, arm)]
        for arm in ("exponentiated", *OTHER_LOSSES)
    }
    exponentiated = values.pop("exponentiated")
    assert all(len(of_seeds) == len(exponentiated) > 1 for of_seeds in values.values())
    best = max(values.values(), key=statistics.mean)
    assert statistics.mean(exponentiated) >= statistics.mean(best) - statistics.stdev(best)


def test_the_throughput_of_training_is_that_of_its_report():
    cells = read_report("throughput")["cells"]
    rows = [throughput(name, cell) for name, cell in cells.items()]
    assert header(THROUGHPUT_COLUMNS) + "".join(rows) in BENCHMARKS_README
    shares = [statistics.median(cell["share"]) for cell in cells.values()]
    assert min(shares) >= 0.95
    assert f"{100 * min(shares):.1f} to {100 * max(shares):.1f} % of" in README_PROSE


def test_the_speed_of_bfloat16_is_that_of_its_report():
    rows = [dtypes(stage, cell) for stage, cell in read_report("dtype_policies")["cells"].items()]
    assert header(DTYPE_COLUMNS) + "".join(rows) in BENCHMARKS_README


def test_the_memory_of_the_loss_is_that_of_its_report():
    rows = [memory(cell) for cell in read_report("loss_memory")["cells"]]
    assert header(MEMORY_COLUMNS) + "".join(rows) in BENCHMARKS_README


def test_the_speed_of_search_is_that_of_its_reports():
    reports = [read_report(f"hamming-{cpu}") for cpu in CPUS]
    assert [report["kernel"] for report in reports] == ["avx2", "avx512", "avx512"]
    (lengths,) = {tuple(report["search"]) for report in reports}
    for bits in lengths:
        beside_faiss = []
        for report in reports:
            cell = report["search"][bits]
            rates = {engine: spread(rounds) for engine, rounds in cell["rates"].items()}
            engines = [
                rates[name] for name in ("tfhash", "faiss", "usearch", "NumPy", "TensorFlow")
            ]
            times, k100 = spread(cell["times_faiss"]), spread(cell["k100_to_k10"])
            assert row([bits, *engines, times, k100]) in BENCHMARKS_README
            beside_faiss += [rates["tfhash"], times]
        assert row([bits, *beside_faiss]) in README


def test_the_speed_of_one_query_is_that_of_its_reports():
    reports = [read_report(f"hamming-{cpu}")["single_query"] for cpu in CPUS]
    for engine in reports[0]["seconds"]:
        times = [spread([1000 * s for s in report["seconds"][engine]]) for report in reports]
        assert row([engine, *times]) in BENCHMARKS_README
    times = [spread(report["times_fastest_reading"]) for report in reports]
    assert row(["tfhash, times the fastest reading", *times]) in BENCHMARKS_README
    first, second, third = times
    assert f"takes {first}, {second} and {third} times as long" in README_PROSE


def test_the_speed_of_evaluation_is_that_of_its_report():
    for bits, cell in read_report("evaluation")["cells"].items():
        assert evaluation(bits, cell) in BENCHMARKS_README
