"""The study as a table: every training, the report's and those beside them, is one frozen, comparable Experiment."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from ferhelpers import distortions
from ferhelpers.errors import InputError

ARCHITECTURES = ("cnn", "efficientnetb0", "efficientnet_lite0", "resnet")
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
VALIDATIONS = ("separate", "twentieth", "by_image", "test")
WIRINGS = ("tutorial", "sequential", "listing")
SCALES = ("unit", "byte")
ANNEALINGS = ("none", "cosine")
UNNORMALISED_RATE = 3e-4  # the highest rate at which 17 convolutions without normalisation leave chance (profile fast)
PACE = ("learning_rate", "decay", "annealing", "batch_size")  # with study_epochs: equal in trainings on one schedule
SCHEDULE = ("weights", "epochs", "study_epochs", *PACE, "precision", "seed")  # what `network` leaves out

DIETS = ("clean", "general", "report", *(f"without_{name}" for name in distortions.NAMES))


@dataclass(frozen=True)
class Recipe:
    """How a network is trained to withstand distortion; with it, `augmentation` is the recipe's own.

    Attributes:
        diet: what distorts the training images (robust.GENERAL): "clean", nothing; "general", textbook distortions at
            random severities; "report", these and the report's own functions, half and half; "without_<distortion>",
            general ones, but the images that the family of that distortion would get stay as they are.
        distorted: share of the images that are distorted ("clean": 0; "without_<distortion>": less that family's part).
            Of 0.36, 0.4 (in another mixture) and 0.5, networks trained with 0.36 recognised most clean validation
            images, by less than a point.
        rotation, shift, stretch: largest angle (degrees), shift (share of the side) and change of size (share):
            faces are centred, but not exactly. Half of the images are mirrored.
        light: largest change of brightness and contrast (share of the full scale): photos differ in exposure.
        momentum: of SGD with Nesterov's step, which ends in a better minimum than Adam where the rate falls to 0.
        weight_decay: share by which weights shrink a step, times the learning rate; Keras' decay is not multiplied by
            the momentum, so 0.005 is what others call 0.0005.
        smoothing: of the labels: about 35 % of the labels of FER-2013 are disputed (Barsoum et al. 2016).
    """

    diet: str = "general"
    distorted: float = 0.36
    rotation: float = 12.0
    shift: float = 0.1
    stretch: float = 0.12
    light: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 0.005
    smoothing: float = 0.05

    def __post_init__(self):
        if self.diet not in DIETS:
            raise InputError(f"diet is {self.diet!r}; it is one of {', '.join(DIETS)}")
        if self.diet == "clean":
            object.__setattr__(self, "distorted", 0.0)


@dataclass(frozen=True)
class Experiment:
    """One training. Equal experiments on equal data are one run, whoever asks for them.

    Attributes:
        architecture: "cnn"; "resnet", the small residual network, of which width alone counts; or "efficientnetb0" or
            "efficientnet_lite0" (which ignore blocks, dropout, normalisation, width, wiring and scale).
        blocks: blocks of layers of the CNN, 1..5 (report 8.1).
        dropout: rate after every block, 0 <= rate < 1.
        normalisation: batch normalisation after every convolution.
        width: factor on the numbers of filters; 1.0 is the report's.
        wiring: "tutorial" (the last features of blocks 2 and 5 not normalised, as in the tutorial's code), "sequential"
            (every convolution normalised) or "listing" (as printed in the report: sequential, block 4 bypassed; 5
            blocks only).
        scale: "unit" (pixels are divided by 255 before the first convolution) or "byte" (0..255).
        weights: EfficientNet's start: "none", "imagenet" or, of EfficientNetB0, the path of a file (its content is what
            counts).
        augmentation: random rotation, shift and flip (report 5.2).
        validation: "separate" (15 % of Training, of which no picture is trained on), "twentieth" (likewise 5 %: leaves
            more to train on), "by_image" (15 % drawn without a look at copies, as in earlier versions: 309 of the
            4,307 images have a copy among those that are trained on) or "test" (PublicTest, as in the tutorial; all of
            Training is trained on).
        learning_rate, decay: Adam's rate at step t is learning_rate / (1 + decay * t) (report 6.1.1).
        annealing: "none", or "cosine": instead, the rate rises over the first twentieth of the steps and falls to 0 by
            a cosine.
        epochs, batch_size: passes over the training images, images a step.
        study_epochs: the study's EPOCHS, of which `epochs` is this network's share; None stands for `epochs`.
        precision: "auto" (chosen from the hardware, recorded in the run) or a Keras dtype policy.
        seed: of the initial weights, the order of the images, dropout and augmentation.
        recipe: of a training that withstands distortion ("resnet", notebook 09); None is the report's.
        frozen: train EfficientNet-Lite0's last layer alone, on the ImageNet weights below it.

    Raises:
        InputError: a value out of range or an impossible combination.
    """

    architecture: str = "cnn"
    blocks: int = 5
    dropout: float = 0.3
    normalisation: bool = True
    width: float = 1.0
    wiring: str = "tutorial"
    scale: str = "unit"
    weights: str = "none"
    augmentation: bool = False
    validation: str = "separate"
    learning_rate: float = 1e-4
    decay: float = 1e-6
    annealing: str = "none"
    epochs: int = 100
    study_epochs: int | None = None
    batch_size: int = 64
    precision: str = "auto"
    seed: int = 0
    frozen: bool = False
    recipe: Recipe | None = None

    def __post_init__(self):
        if self.study_epochs is None:
            object.__setattr__(self, "study_epochs", self.epochs)
        for name, allowed in (
            ("architecture", ARCHITECTURES),
            ("wiring", WIRINGS),
            ("scale", SCALES),
            ("annealing", ANNEALINGS),
            ("validation", VALIDATIONS),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}; it is one of {', '.join(allowed)}")
        for name, right, condition in (
            ("blocks", "1 to 5", 1 <= self.blocks <= 5),
            ("dropout", "at least 0 and below 1", 0 <= self.dropout < 1),
            ("width", "above 0 and at most 4", 0 < self.width <= 4),
            ("learning_rate", "above 0 and finite", 0 < self.learning_rate < math.inf),
            ("decay", "at least 0 and finite", 0 <= self.decay < math.inf),
            ("epochs", "at least 1", self.epochs >= 1),
            ("batch_size", "at least 1", self.batch_size >= 1),
            ("seed", "0 to 2**31 - 1", 0 <= self.seed < 2**31),
        ):
            if not condition:
                raise InputError(f"{name} is {getattr(self, name)}; it must be {right}")
        if self.wiring == "listing" and self.blocks != 5:
            raise InputError(f"wiring 'listing' bypasses block 4 of 5, and blocks is {self.blocks}; set blocks to 5")
        if self.weights != "none" and not self.architecture.startswith("efficientnet"):
            raise InputError("weights start EfficientNet only; the other networks are trained from random weights")
        if self.augmentation and self.architecture != "cnn":
            raise InputError("augmentation is a layer of the CNNs; the other networks have none")
        if self.frozen and (self.architecture, self.weights) != ("efficientnet_lite0", "imagenet"):
            raise InputError(
                "frozen keeps the ImageNet weights of EfficientNet-Lite0; this network does not start from them"
            )

    def content(self) -> dict:
        """What makes two experiments the same: all fields, a weights file by its SHA-256 instead of its path."""
        content = dataclasses.asdict(self)
        if self.weights not in ("none", "imagenet"):
            with open(weights_file(self.weights), "rb") as file:
                content["weights"] = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        return content

    @staticmethod
    def network(content: dict) -> dict:
        """Of a `content`, what is trained and on what; not for how long, how fast, or from which weights.

        Fields at their defaults do not count, as in `key`: a run that was stored before a field was added lacks it.
        """
        return {
            name: value
            for name, value in content.items()
            if name not in SCHEDULE and value != getattr(Experiment, name)
        }

    def followed_by(self, content: dict) -> bool:
        """Whether a training of this `content` had this schedule and width, and pre-trained weights if this one has."""
        same = all(content[name] == getattr(self, name) for name in ("epochs", "width", *PACE))
        return same and (content["weights"] == "none") == (self.weights == "none")

    def key(self, fingerprint: str) -> str:
        """SHA-256 (hex) of the experiment's content and of the data's fingerprint: the name of its run.

        Fields at their defaults do not count, so that a field that is added later changes no name.
        """
        content = {name: value for name, value in self.content().items() if value != getattr(Experiment, name)}
        text = json.dumps({"experiment": content, "data": fingerprint}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def cost(self) -> float:
        """About how long it trains, on a CPU; 1 is one epoch of 5 blocks at full width."""
        epoch = {"cnn": (0.16, 0.43, 0.77, 0.91, 1)[self.blocks - 1], "resnet": 0.11}.get(self.architecture, 0.4)
        return self.epochs * self.width**2 * epoch

    @property
    def slug(self) -> str:
        """A readable name for folders and progress lines; the key tells apart what it leaves out."""
        if self.recipe:
            return f"{self.architecture}{self.width:g}-{self.recipe.diet}-{self.epochs}epochs-seed{self.seed}"
        if self.architecture != "cnn":
            return f"{self.architecture}{'-frozen' * self.frozen}-{self.epochs}epochs-seed{self.seed}"
        parts = [f"cnn{self.blocks}", f"dropout{self.dropout:g}"]
        parts += ["nonorm"] * (not self.normalisation) + [self.wiring] * (self.wiring != "tutorial") + [self.scale]
        parts += ["augmented"] * self.augmentation + ["testval"] * (self.validation == "test")
        parts += ["cosine"] * (self.annealing == "cosine")
        return "-".join([*parts, f"{self.epochs}epochs", f"seed{self.seed}"])


def weights_file(name: str | Path) -> Path:
    """The weights file that the parameter WEIGHTS names; raises InputError where there is none."""
    if not Path(name).is_file():
        raise InputError(f'WEIGHTS names no file: {name}; give "none", "imagenet" or the path of a weights file')
    return Path(name)


@dataclass(frozen=True)
class Settings:
    """What a profile may change of the report's protocol; the defaults are the protocol.

    Attributes:
        epochs: of a training for which the report has 100. The final network trains 55/100 of it, EfficientNet
            20/100, rounded up.
        width, scale, learning_rate, annealing, batch_size, precision, weights, seed: as in Experiment.
        robust_epochs, robust_width, robust_batch_size: of the small residual networks (notebook 09).
    """

    epochs: int = 100
    width: float = 1.0
    scale: str = "unit"
    learning_rate: float = 1e-4
    annealing: str = "none"
    batch_size: int = 64
    precision: str = "auto"
    weights: str = "imagenet"
    seed: int = 0
    robust_epochs: int = 32
    robust_width: float = 1.0
    robust_batch_size: int = 128

    @classmethod
    def from_parameters(cls, parameters: dict) -> Settings:
        """From a notebook's parameters (`EPOCHS`, `WIDTH`, ...); other parameters are passed over."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name.lower(): value for name, value in parameters.items() if name.lower() in names})

    def experiment(self, report_epochs: int = 100, **changes) -> Experiment:
        """An Experiment at these settings; `report_epochs` is how long the report trained it."""
        return Experiment(
            epochs=math.ceil(self.epochs * report_epochs / 100),
            study_epochs=self.epochs,
            annealing=self.annealing,
            batch_size=self.batch_size,
            precision=self.precision,
            seed=self.seed,
            **{name: getattr(self, name) for name in ("width", "scale", "learning_rate")} | changes,
        )


def baselines(settings: Settings) -> dict[str, Experiment]:
    """The 5-block CNN, augmented: validated on PublicTest (6.1.1), and on 15 % of Training (6.1.3, used later on)."""
    return {
        "baseline_test_validation": settings.experiment(augmentation=True, validation="test"),
        "baseline": settings.experiment(augmentation=True),
    }


def layer_ablation(settings: Settings) -> dict[str, Experiment]:
    """The first 1 to 5 blocks, not augmented (8.1, Tables 3-8), and two more networks of 5 blocks.

    One is wired as the report's listing has it (block 4 bypassed), the other has no normalisation (8.1, Grad-CAM).
    """
    networks = {f"blocks_{blocks}": settings.experiment(blocks=blocks) for blocks in range(1, 6)}
    return {
        **networks,
        "listing": settings.experiment(wiring="listing"),
        "no_normalisation": settings.experiment(
            normalisation=False, learning_rate=min(settings.learning_rate, UNNORMALISED_RATE)
        ),
    }


def dropout_ablation(settings: Settings) -> dict[str, Experiment]:
    """4 blocks at dropout 0.3 (`blocks_4` of the layer ablation), 0.5 and 0.65, not augmented (8.2, Tables 9-14)."""
    higher = {f"dropout_{rate}": settings.experiment(blocks=4, dropout=rate) for rate in (0.5, 0.65)}
    return {"blocks_4": layer_ablation(settings)["blocks_4"], **higher}


def final_model(settings: Settings) -> dict[str, Experiment]:
    """The final network, 2 blocks at dropout 0.65 for 55 epochs, augmented (9), and the baseline."""
    return {
        "baseline": baselines(settings)["baseline"],
        "final": settings.experiment(55, blocks=2, dropout=0.65, augmentation=True),
    }


def efficientnet(settings: Settings) -> dict[str, Experiment]:
    """EfficientNetB0 for 20 epochs (9, Tables 15-20), and the two networks beside it.

    Unless `weights` is "none", also EfficientNet-Lite0 from ImageNet weights, with all layers but the last frozen, and
    fine-tuned.
    """
    network = settings.experiment(20, architecture="efficientnetb0", weights=settings.weights, width=1.0)
    networks = {**final_model(settings), "efficientnet": network}
    if settings.weights == "none":
        return networks
    lite = dataclasses.replace(network, architecture="efficientnet_lite0", weights="imagenet")
    return {**networks, "lite_frozen": dataclasses.replace(lite, frozen=True), "lite": lite}


def readings(settings: Settings) -> dict[str, Experiment]:
    """Three networks of the report by each reading of what it leaves open (notebook 06).

    That is the scale of the pixels, and whether 1 and 2 blocks were augmented after all. These two end after 30
    epochs; "full" is one block after all 100. "earlier" is how this study first read the report, in wiring, scale and
    validation images, after all epochs.
    """
    one, two = ({"blocks": blocks} for blocks in (1, 2))
    final = {"blocks": 2, "dropout": 0.65, "augmentation": True}
    networks = {}
    for scale in SCALES:
        networks[f"final_{scale}"] = settings.experiment(55, **final, scale=scale)
        for name, network in (("blocks_1", one), ("blocks_2", two)):
            networks[f"{name}_{scale}"] = settings.experiment(30, **network, scale=scale)
            networks[f"{name}_{scale}_augmented"] = settings.experiment(30, **network, scale=scale, augmentation=True)
    earlier = {"wiring": "sequential", "scale": "byte", "validation": "by_image"}
    return {
        **networks,
        "blocks_1_full": settings.experiment(**one, scale="unit"),
        "final_earlier": settings.experiment(55, **final, **earlier),
        "blocks_1_earlier": settings.experiment(**one, **earlier),
        "blocks_2_earlier": settings.experiment(**two, **earlier),
    }


def diets(settings: Settings) -> dict[str, Experiment]:
    """`robust_training` and what is `left_out` of it."""
    return {**robust_training(settings), **left_out(settings)}


def robust_training(settings: Settings) -> dict[str, Experiment]:
    """A small residual network trained on clean images, on general distortions, and on the report's own, too."""
    return {f"robust_{diet}": _robust(settings, Recipe(diet)) for diet in ("clean", "general", "report")}


def left_out(settings: Settings) -> dict[str, Experiment]:
    """The small network with each family of general distortions left out, and "robust".

    "robust" is larger, and trained longer and on more images: with nothing left to choose, few are needed to check it.
    More of them are distorted: for a small network, a share of 0.5 cost half a point on clean validation images and
    brought about one on distorted ones; a larger network has room for more.
    """
    small = {f"robust_{diet}": _robust(settings, Recipe(diet)) for diet in DIETS if diet.startswith("without")}
    larger = _robust(settings, Recipe("report", distorted=0.45), width=1.5, epochs=2, validation="twentieth")
    return {**small, "robust": larger}


def _robust(
    settings: Settings, recipe: Recipe, width: float = 1, epochs: int = 1, validation: str = "separate"
) -> Experiment:
    """`width` and `epochs` are factors on the filters and the epochs."""
    return Experiment(
        architecture="resnet",
        recipe=recipe,
        width=width * settings.robust_width,
        validation=validation,
        learning_rate=0.1 * settings.robust_batch_size / 128,
        annealing="cosine",
        batch_size=settings.robust_batch_size,
        epochs=epochs * settings.robust_epochs,
        study_epochs=settings.robust_epochs,
        precision=settings.precision,
        seed=settings.seed,
    )


def network_of(reading: str) -> str:
    """The network that a reading is of: "blocks_1_unit_augmented" -> "blocks_1", "lite" -> "efficientnet"."""
    if reading in ("lite", "lite_frozen"):
        return "efficientnet"
    return re.sub("_(unit|byte|augmented|full|earlier)", "", reading)


def with_seeds(experiments: dict[str, Experiment], seeds: int) -> list[tuple[str, Experiment]]:
    """(name, experiment) for each experiment with `seeds` seeds: its own and the following ones."""
    return [
        (name, dataclasses.replace(experiment, seed=seed))
        for name, experiment in experiments.items()
        for seed in range(experiment.seed, experiment.seed + seeds)
    ]


def longest_first(named: list[tuple[str, Experiment]]) -> list[tuple[str, Experiment]]:
    """The order in which several processes finish soonest."""
    return sorted(named, key=lambda pair: -pair[1].cost)


REPORTED = {
    "03_baseline": baselines,
    "04_layer_ablation": layer_ablation,
    "05_dropout_ablation": dropout_ablation,
    "06_final_model": final_model,
    "07_efficientnet": efficientnet,
}


STUDY = {**REPORTED, "09_robust_training": robust_training}
ASIDE = {"06_final_model": readings, "09_robust_training": left_out}  # shown where trained; `--networks` trains them


def everything(settings: Settings) -> dict[str, Experiment]:
    """Every training that the report describes, and what `efficientnet` sets beside them."""
    return {name: experiment for factory in REPORTED.values() for name, experiment in factory(settings).items()}


PROTOCOL = everything(Settings())  # the report's
