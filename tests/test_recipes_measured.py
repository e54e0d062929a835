"""The benchmark of recipes: its arms, its sets, and how it continues."""

import json

import cells
import numpy as np
import photographs
import recipe_arms
import recipe_sets
import write_tables

from tfhash.experiments import make_recipe


def test_every_arm_is_a_recipe_for_its_set():
    for name, arm in recipe_arms.ARMS.items():
        assert name.startswith(f"{arm.set}: ")
        items = recipe_sets.SIZES[arm.set]
        weights = {"backbone": "convnet", "weights": "a.weights.h5"}
        given = {**arm.given, **(weights if arm.preset == "pretrained" else {})}
        recipe = make_recipe(arm.preset, (arm.side, arm.side, 3), items, **given)
        assert recipe.epochs() > 0
        assert recipe.is_pretrained() == (arm.preset == "pretrained")


def test_a_cell_that_a_kill_cut_short_is_trained_again(tmp_path):
    made = [{"arm": "a", "seed": 0, "val_map": 0.5}, {"arm": "b", "seed": 1, "val_map": 0.25}]
    lines = [json.dumps(cell) + "\n" for cell in made]
    path = tmp_path / cells.NAME
    assert cells.finished(tmp_path) == {}
    path.write_text("".join(lines))
    assert cells.finished(tmp_path) == {("a", 0): made[0], ("b", 1): made[1]}
    path.write_text("".join(lines)[:-5])
    assert cells.finished(tmp_path) == {("a", 0): made[0]}
    with path.open("a") as file:
        file.write(f"\n{lines[1]}")
    assert cells.finished(tmp_path) == {("a", 0): made[0], ("b", 1): made[1]}


def test_a_cell_is_trained_by_one_process_and_once(tmp_path):
    with cells.claimed(tmp_path, "a", 0) as is_free:
        assert is_free
        with (
            cells.claimed(tmp_path, "a", 0) as by_another,
            cells.claimed(tmp_path, "a", 1) as next_one,
        ):
            assert (by_another, next_one) == (False, True)
        cells.save(tmp_path, {"arm": "a", "seed": 0})
    with cells.claimed(tmp_path, "a", 0) as is_free:
        assert not is_free


def test_every_arm_of_photographs_changes_its_recipe():
    base = photographs.recipe_of("the recipe")
    assert base.epochs() == 8
    for name, changed in photographs.ARMS.items():
        recipe = photographs.recipe_of(name)
        assert (recipe == base) == (not changed)
        assert {key: getattr(recipe, key) for key in changed} == changed
        # As long as the others, or it would be no comparison.
        assert recipe.epochs() == base.epochs()


def test_digits_as_photos_are_in_color_and_show_the_digit(rng):
    glyph = np.zeros((8, 8))
    glyph[2:6, 2:6] = 16
    for _ in range(3):
        photo = recipe_sets._photo(glyph, rng)
        assert (photo.shape, photo.dtype) == ((recipe_sets.SIDE, recipe_sets.SIDE, 3), "uint8")
        assert np.ptp(photo.astype(int), axis=-1).mean() > 16
        blank = recipe_sets._photo(0 * glyph, np.random.default_rng(0))
        inked = recipe_sets._photo(glyph, np.random.default_rng(0))
        assert 0.01 < np.mean(blank != inked) < 0.5


def test_the_measured_recipes_are_those_of_the_arms_of_today():
    report = write_tables.read_result("recipes")
    assert set(report["cells"]) <= set(recipe_arms.ARMS)
    assert report["settings"]["sets"] == recipe_sets.describe()
    for name, of_seeds in report["cells"].items():
        arm = recipe_arms.ARMS[name]
        for cell in of_seeds.values():
            assert (cell["set"], cell["side"], cell["preset"]) == (arm.set, arm.side, arm.preset)
            assert {key: cell["recipe"][key] for key in arm.given} == arm.given
            assert 0 < cell["val_map"] < 1
