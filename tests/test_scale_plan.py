"""The plan for a billion codes and the tables of engines and Beam, by hand-worked values."""

import pytest
import scale_plan
import scale_tables
import write_tables

# 100 million codes: 0.5 s a query, 0.1 s in a batch of 4, for which 2 cores work 0.15 s together, 2 GB on
# disk, 3 GB resident, 1 hour to load.
CLUSTER = scale_plan.Measured("cluster", 10**8, 2, 3600.0, 0.5, 0.1, 0.15, 2.0, 3.0)


def cell(one, batch, memory=3000.0, spent=0.15):
    return {
        "version": "9",
        "loading": 3600.0,
        "seconds": {"one": one, "batch": batch},
        "core_seconds": spent and {"batch": spent},
        "disk_bytes": 2 * 10**9,
        "resident_mb": memory,
    }


def report(cells, bits=64):
    settings = {"bits": bits, "batch": 4}
    return {"settings": settings, "machine": {"cores": 2, "processor": "P"}, "cells": cells}


def test_a_billion_codes_cost_ten_times_a_hundred_million_divided_over_the_machines():
    found = scale_plan.plan(CLUSTER, 10**9, machines=5)
    # Each machine holds 200 million codes, twice the measured number.
    assert found.disk_gb == pytest.approx(4)
    assert found.memory_gb == pytest.approx(12)  # 6 GB in half of the memory
    assert found.one == pytest.approx(1.0)
    assert found.queries_a_second == pytest.approx(5)
    # Not divided: one writer, and the work of a query.
    assert found.loading_hours == pytest.approx(10)
    assert found.core_seconds == pytest.approx(1.5)


def test_a_plan_for_what_was_measured_is_the_measurement():
    assert scale_plan.plan(CLUSTER, 10**8, machines=1) == pytest.approx((1, 6, 2, 1, 0.5, 10, 0.15))


@pytest.mark.parametrize(
    ("items", "memory_gb", "seconds", "machines"),
    [
        (10**9, 16, 1.0, 5),  # 5 s on one machine; 30 GB are 4 times half of 16
        (10**9, 16, 5.0, 4),
        (10**9, 60, 5.0, 1),  # both exactly
        (10**9, 60, 4.9, 2),
        (1, 16, 1.0, 1),
    ],
)
def test_machines_hold_the_codes_in_half_of_their_memory_and_answer_in_time(
    items, memory_gb, seconds, machines
):
    assert scale_plan.machines_needed(CLUSTER, items, memory_gb, seconds) == machines
    alone = CLUSTER._replace(engine="postgresql")
    assert scale_plan.machines_needed(alone, items, memory_gb, seconds) == 1


def test_a_table_larger_than_what_is_resident_counts_as_page_cache():
    assert scale_plan.working_set_gb(CLUSTER._replace(disk_gb=7.0)) == 7.0
    assert scale_plan.working_set_gb(CLUSTER._replace(memory_gb=None)) == 2.0


def test_the_plan_takes_the_largest_size_of_each_engine_and_medians():
    sizes = {
        "cluster 100000000": cell([0.5, 9.0, 0.1], [0.4]),
        "cluster 1000000": cell([9.0], [9.0]),
        "file 20000000": cell([1.0], [1.0], memory=None, spent=None),
    }
    # Processor time that was not measured: both cores for 0.25 s.
    file = scale_plan.Measured("file", 2 * 10**7, 2, 3600.0, 1.0, 0.25, 0.5, 2.0, None)
    assert scale_plan.largest(report(sizes)) == [CLUSTER, file]
    _, _, first, *others, second, last = scale_tables.plans(report(sizes)).splitlines()
    # 50 times 20 million: 100 GB in half of the memory, 50 hours, 50 s, 12.5 s in a batch on 2 cores.
    assert first == "| index file | 20,000,000 | 1 | 2 | 200 | 100 | 50 | 50 | 0.08 | 25 |"
    assert second == "| ClickHouse, a cluster | 100,000,000 | 5 | 2 | 12 | 4 | 10 | 1 | 5 | 1.5 |"
    assert [line[:-32] for line in (*others, last)] == [
        f"| {name} | not measured |" for name in ("chDB", "ClickHouse", "PostgreSQL")
    ]
    with pytest.raises(ValueError, match="Received a result of scale.py with 32 bits"):
        scale_tables.plans(report(sizes, bits=32))


def test_each_engine_has_a_row_for_each_size_and_says_what_was_not_measured():
    sizes = {
        "postgresql 2000": cell([0.25], [1.0]),
        "file 2000": cell([0.5], [2.0], memory=None, spent=None),
        "postgresql 1000": cell([0.125, 0.25, 0.5], [4.0]),
    }
    rows = scale_tables.scale(report(sizes)).splitlines()[2:]
    assert [line for line in rows if "not measured" not in line] == [
        "| PostgreSQL 9 | 1,000 | 3,600 | 250 (125 to 500) | 1000 (1000 to 1000) | 150 | 2,000 | 3,000 |",
        "| index file 9 | 2,000 | 3,600 | 500 (500 to 500) | 500 (500 to 500) | - | 2,000 | - |",
        "| PostgreSQL 9 | 2,000 | 3,600 | 250 (250 to 250) | 250 (250 to 250) | 150 | 2,000 | 3,000 |",
    ]
    engines = "index file", "chDB", "ClickHouse", "ClickHouse, two servers", "PostgreSQL"
    assert [line.split(" | ")[:2] for line in rows if "not measured" in line] == [
        *([f"| {name}", "1,000"] for name in engines[:-1]),
        *([f"| {name}", "2,000"] for name in engines[1:-1]),
    ]
    assert scale_tables.machine(report(sizes)) == "2 cores of P"


def test_beam_is_compared_with_tfhash_encode_within_a_round():
    def ways(encode, direct, differing):
        return {
            "tfhash encode": {"seconds": encode, "differing_codes": 0},
            "direct, 2 workers": {"seconds": direct, "differing_codes": differing},
        }

    rounds = {"round 0": ways(10.0, 5.0, 0), "round 1": ways(20.0, 5.0, 3)}
    found = scale_tables.beam({"settings": {"images": 100}, "cells": rounds}).splitlines()[2:]
    assert found == [
        "| tfhash encode | 7.5 (5 to 10) | 1 (1 to 1) | 0 |",
        "| direct, 2 workers | 20 (20 to 20) | 3 (2 to 4) | 3 |",
    ]


@pytest.mark.parametrize("found", [None, report({})])
@pytest.mark.parametrize("name", ["scale", "scale-plan", "beam"])
def test_a_result_that_is_missing_or_empty_is_a_row_that_says_so(monkeypatch, name, found):
    monkeypatch.setattr(write_tables, "result_if_measured", {name.removesuffix("-plan"): found}.get)
    (line,) = write_tables.TABLES[name]("").splitlines()[2:]
    assert line.startswith("| not measured | - |")
