"""What `recipes.py` trains."""

import dataclasses
import itertools

import recipe_sets


@dataclasses.dataclass(frozen=True)
class Arm:
    """One training: a set, the side of the network's input, a preset, and what is changed in it."""

    set: str
    side: int
    preset: str
    given: dict = dataclasses.field(default_factory=dict)


def _steps(items, batch_size, pretrain, finetune):
    """Epochs that make so many steps."""
    per_epoch = max(1, items // min(batch_size, items))
    return {
        "batch_size": batch_size,
        "pretrain_epochs": round(pretrain / per_epoch),
        "finetune_epochs": round(finetune / per_epoch),
    }


def _rates(rate, multiplier):
    """Rates of the backbone in the proportion of the preset, and the classifier's multiple."""
    return {
        "pretrain_learning_rate": rate,
        "finetune_learning_rate": 0.3 * rate,
        "classifier_lr_multiplier": float(multiplier),
    }


PLAIN = {"crop": 1.0, "max_shift": 0, "flip": False}

# Of the preset `photographs` at 64 pixels.
NARROW = 24


def _arms():
    """Arms by name, the most telling first."""
    few = recipe_sets.SIZES["few"]
    arms = {}
    for name in ("few", "digits", "many"):
        steps = 500 if name == "many" else 250
        given = _steps(recipe_sets.SIZES[name], 32, 0.8 * steps, 0.2 * steps)
        for preset in ("photographs", "simple"):
            width = {"width": NARROW} if preset == "photographs" else {}
            arms[f"{name}: {preset}, {steps} steps"] = Arm(name, 32, preset, given | width)
        # Half as many steps as the preset makes.
        short = _steps(recipe_sets.SIZES[name], 32, 100, 100)
        for rate, multiplier in itertools.product((1e-3, 3e-4, 1e-4), (1, 10, 3)):
            if name == "few" or (multiplier != 3 and rate > 1e-4):
                arms[f"{name}: pretrained, rate {rate:g}, classifier x{multiplier}"] = Arm(
                    name, 32, "pretrained", short | _rates(rate, multiplier)
                )

    def photographs(steps, batch_size=32, side=32, name="few", **given):
        steps = _steps(recipe_sets.SIZES[name], batch_size, 0.8 * steps, 0.2 * steps)
        return Arm(name, side, "photographs", {**steps, "width": NARROW, **given})

    arms["digits: photographs, 250 steps, no flips"] = photographs(
        250, name="digits", flip=False, flip_tta=False
    )
    arms["few: photographs, 125 steps"] = photographs(125)
    arms["few: photographs, 500 steps"] = photographs(500)
    arms["few: photographs, 250 steps, no augmentation"] = photographs(250, **PLAIN)
    arms["few: pretrained, no augmentation"] = Arm("few", 32, "pretrained", PLAIN)
    arms["few: photographs, 250 steps of 100"] = photographs(250, batch_size=100)
    arms["few: photographs, 250 steps, 64 pixels"] = photographs(250, side=64)
    arms["few: simple, 250 steps, 64 pixels"] = Arm("few", 64, "simple", _steps(few, 32, 200, 50))
    arms["many: photographs, 1000 steps"] = photographs(1000, name="many")
    arms["many: pretrained, no augmentation"] = Arm("many", 32, "pretrained", PLAIN)
    arms["few: photographs, 500 steps of 100"] = photographs(500, batch_size=100)
    return arms


ARMS = _arms()
