"""The recipe: everything that decides a training run, as typed data; YAML on disk."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from recurseg.errors import did_you_mean
from recurseg.evaluation.metrics import METRICS
from recurseg.preprocess import Preprocessing

SCHEMA_VERSION = 1
Axis = Literal["D", "H", "W"]
Loss = Literal[
    "mean_squared_error",
    "cross_entropy",
    "balanced_cross_entropy",
    "exponential_cross_entropy",
    "soft_dice",
    "dice_cross_entropy",
]


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, validate_assignment=True)


class ModelConfig(_Config):
    name: str
    """A name that `recurseg models` lists."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of this model; the others keep their defaults."""
    plugin: str | None = None
    """Module that registers the model, where it is not built in."""


class SamplingConfig(_Config):
    foreground: float = Field(default=0.5, ge=0, le=1)
    """Fraction of windows that are centred on a voxel of a foreground class, each class equally often."""
    flip: list[Axis] = Field(default_factory=list)
    """Axes that are flipped, each for half of the windows."""
    right_angles: bool = False
    """Whether windows are turned by a random multiple of 90° in the section plane; needs square windows."""
    rotate: float = Field(default=0.0, ge=0, le=180)
    """Largest angle of rotation in the section plane, degrees."""
    scale: float = Field(default=0.0, ge=0, lt=1)
    """Largest relative change of size in the section plane."""
    affine_probability: float = Field(default=1.0, ge=0, le=1)
    """Fraction of windows that are turned by up to `rotate` and scaled by up to `scale`; the others are left."""
    brightness: float = Field(default=0.0, ge=0)
    """Largest offset added to a window, in units of the normalised intensity."""
    contrast: float = Field(default=0.0, ge=0, lt=1)
    """Largest relative change of contrast."""
    frames: Literal["each", "series"] = "each"
    """Of a cine, each: every labelled frame is an image or a volume of its own; series: the network of time sees
    window[0] frames of one slice position that end at a labelled one, which is reached from later frames where
    there are not so many before it; frames without a label do not count."""
    modality_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability with which each modality is left out of a window; at least one stays."""
    noise: float = Field(default=0.0, ge=0)
    """Largest standard deviation of added Gaussian noise."""
    workers: int = Field(default=0, ge=0)
    """Processes that prepare windows; their number does not change the samples."""


class OptimizerConfig(_Config):
    name: Literal["adam", "adamw", "rmsprop", "rmsprop_momentum"] = "adamw"
    """`rmsprop` divides the gradient by the root of its running mean square; `rmsprop_momentum` is that of Stollenga
    et al. 2015, eq. 15-18."""
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate at the start of a stage."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the running mean of gradients, of which `rmsprop` has none."""
    decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the running mean of squared gradients."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the mean square."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled for `adamw`, added to the gradient for `adam` and `rmsprop`."""


class ScheduleConfig(_Config):
    name: Literal["constant", "halving", "cosine", "polynomial"] = "cosine"
    """How the learning rate falls within a stage."""
    warmup: int = Field(default=0, ge=0)
    """Steps over which it rises linearly."""
    halve_every: PositiveInt = 100
    """Steps after which `halving` has halved it; scaled together with the stages."""
    floor: float = Field(default=0.0, ge=0)
    """What it falls towards."""


class ExponentialConfig(_Config):
    fraction: float | None = Field(default=None, ge=0, le=1)
    """r, share of the voxels that are foreground; null: that of the training cases, which the manifest keeps."""
    as_printed: bool = False
    """Whether foreground has the smaller of the two weights, as Zhang et al. 2019 (RSANet) print it."""


class DeletionConfig(_Config):
    what: Literal["bottom_half", "patches"]
    """`patches` are squares at random places within the image, which may overlap."""
    count: PositiveInt | None = None
    """How many patches an image loses."""
    size: PositiveInt | None = None
    """Side of a patch, pixels."""

    @model_validator(mode="after")
    def _patches(self) -> DeletionConfig:
        patches = self.what == "patches"
        if (self.count is not None) != patches or (self.size is not None) != patches:
            raise ValueError(f"{self.what} {'needs' if patches else 'has no'} count and size")
        return self


class Stage(_Config):
    steps: PositiveInt
    """Updates of the weights; scaled in proportion where minutes are given."""
    window: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Size of the training windows (D, H, W); D = 1 for images and for two-dimensional models."""
    batch: PositiveInt = 1
    """Windows an update."""
    sections: Literal["all", "non_empty"] = "all"
    """non_empty: each window holds foreground in some of its sections."""
    loss: Loss | None = None
    """What this stage minimises, instead of the recipe's loss."""
    lr: float | None = Field(default=None, gt=0)
    """Learning rate at its start, instead of the optimiser's."""


class ValidationConfig(_Config):
    metric: str = "dice"
    """Which metric decides which checkpoint is best: mean over foreground classes and then over cases, or one whose
    voxels are pooled over the cases first ("mean_iou:pooled"); one of images ("mse", "dice@0.5") where images are
    completed."""
    times: PositiveInt = 8
    """How often the held-out cases are predicted, evenly over the run."""
    keep: Literal["best", "last"] = "best"
    """Which weights the package gets: those of the best validation, or those after the last step, which no held-out
    case has chosen."""
    soft: bool = False
    """Whether each validation also logs `dice:soft_batch`, the Dice of probabilities, a held-out case being a batch:
    the score of the thesis of γ-Net is its mean over all validations."""
    cases: PositiveInt | None = None
    """At most so many of them while training (the first by id); all of them at the end. Where images are completed,
    each section is a case."""


class CheckpointConfig(_Config):
    every: PositiveInt = 50
    """Steps between checkpoints; a killed run loses at most these."""
    keep_every: PositiveInt | None = None
    """Keep the checkpoint of every so-many-th step for good (a multiple of `every`)."""


class PredictionConfig(_Config):
    window: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Size of the windows that tile an image (D, H, W); one that is no larger is seen whole."""
    overlap: float = Field(default=0.25, ge=0, lt=1)
    """How far neighbouring windows overlap, as a fraction of the window."""
    frames: Literal["each", "series", "stream"] = "each"
    """How a cine is seen: every frame by itself; the series of window[0] frames that ends at it; or all frames one
    after the other with the state carried on, window[0] at a time."""


class Recipe(_Config):
    schema_version: Literal[1] = SCHEMA_VERSION
    """Version of this format."""
    name: str = "default"
    """What the recipe is called in tables."""
    data: str | None = None
    """The data set it was planned for; `recurseg train RECIPE` trains on it."""
    why: list[str] = Field(default_factory=list)
    """Why the values are what they are, where they were fitted to data and machine."""
    task: Literal["segmentation", "regression", "classification"] = "segmentation"
    """regression: deleted parts of an image are completed; it is learned from images alone, without labels.
    classification: one class for a whole image, which the data set gives as its cases' `target`."""
    classes: list[str] = Field(default_factory=list)
    """Names of the foreground classes that are learned; the others become background. Empty: all of them."""
    modalities: list[str] = Field(default_factory=list)
    """Names of the modalities that the network sees, in the order of its channels. Empty: all of them."""
    one_logit: bool = False
    """Whether a single foreground class is one sigmoid logit, not a softmax of two."""
    deletion: DeletionConfig | None = None
    """What is deleted from each section for the network to complete: it becomes 0 of the prepared image. Places are a
    function of the seed and the number of the sample or, of a held-out image, of the seed and its number. A training
    window is altered as a whole image is, so windows should be whole sections."""
    paste_known: bool = False
    """Whether the pixels that were not deleted are pasted over a reconstruction before it is measured."""
    model: ModelConfig
    """The network."""
    preprocessing: Preprocessing = Field(default_factory=Preprocessing)
    """What happens to a case before the network."""
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)
    """How windows are drawn and augmented."""
    loss: Loss = "dice_cross_entropy"
    """What is minimised; `balanced_cross_entropy` weighs classes by median frequency over the training cases,
    `exponential_cross_entropy` foreground against background by how rare it is."""
    exponential: ExponentialConfig = Field(default_factory=ExponentialConfig)
    """Of `exponential_cross_entropy`."""
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    """How it is minimised."""
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)
    """How the learning rate goes."""
    stages: list[Stage] = Field(min_length=1)
    """Trained one after the other with the same weights and a fresh schedule."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Largest norm of the gradient over all weights; null for no limit."""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    """Of the convolutions; cell states, softmax and losses are float32 always."""
    validation: ValidationConfig = Field(default_factory=ValidationConfig)
    """How the held-out cases are watched."""
    early_stopping: PositiveInt | None = None
    """Stop after so many validations without a better one; null for never."""
    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig)
    """What is kept for resuming."""
    prediction: PredictionConfig
    """How an image is predicted."""
    seed: int = 0
    """Sample number n is a pure function of the seed and n."""

    @model_validator(mode="after")
    def _turns_squares(self) -> Recipe:
        oblong = next((stage.window for stage in self.stages if stage.window[1] != stage.window[2]), None)
        if self.sampling.right_angles and oblong:
            raise ValueError(f"sampling.right_angles needs windows with H = W, not {oblong}")
        return self

    @model_validator(mode="after")
    def _fits_its_task(self) -> Recipe:
        metric, completes = self.validation.metric, self.task == "regression"
        if metric not in METRICS:
            raise ValueError(f"validation.metric: no metric '{metric}'{did_you_mean(metric, METRICS)}")
        needed = {"regression": "image", "classification": "target"}.get(self.task)
        if METRICS[metric].takes != needed and (needed or METRICS[metric].takes in ("image", "target")):
            raise ValueError(f"validation.metric: {metric} is not for task {self.task}")
        if (self.deletion is not None) != completes or (self.paste_known and not completes):
            raise ValueError("deletion and paste_known belong to task regression, which needs a deletion")
        for loss in (self.loss, *(stage.loss or self.loss for stage in self.stages)):
            if completes and loss != "mean_squared_error":
                raise ValueError(f"loss: {loss} is for classes: take mean_squared_error for task regression")
            if self.task == "classification" and loss != "cross_entropy":
                raise ValueError(f"loss: {loss} is for voxels: take cross_entropy for task classification")
        if completes and (self.preprocessing.normalise != "unit" or self.preprocessing.local_contrast):
            raise ValueError("preprocessing: task regression needs normalise unit and no local_contrast")
        return self

    @model_validator(mode="after")
    def _series_to_the_end(self) -> Recipe:
        if (self.sampling.frames == "each") != (self.prediction.frames == "each"):
            raise ValueError(
                f"sampling.frames {self.sampling.frames} and prediction.frames {self.prediction.frames}: a network "
                "that learns from series predicts from series or streamed, any other each frame"
            )
        return self

    @property
    def steps(self) -> int:
        """Updates in all stages."""
        return sum(stage.steps for stage in self.stages)

    def scaled(self, factor: float) -> Recipe:
        """The recipe with so many times the steps; stages and halvings of the rate keep their proportions."""
        stages = [stage.model_copy(update={"steps": max(1, round(stage.steps * factor))}) for stage in self.stages]
        halve_every = max(1, round(self.schedule.halve_every * factor))
        schedule = self.schedule.model_copy(update={"halve_every": halve_every})
        return self.model_copy(update={"stages": stages, "schedule": schedule})

    def digest(self) -> str:
        """SHA-256 of all that decides the training: not where the data lie, nor why."""
        exclude: Any = {"data": True, "why": True, **_left_out(self)}
        parts = ("preprocessing", "sampling", "prediction", "validation")
        exclude |= {key: _left_out(getattr(self, key)) for key in parts}
        exclude["stages"] = {number: _left_out(stage) for number, stage in enumerate(self.stages)}
        content = self.model_dump(mode="json", exclude=exclude)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


ADDED: dict[type, tuple[str, ...]] = {
    Recipe: ("task", "classes", "modalities", "one_logit", "deletion", "paste_known", "exponential"),
    Preprocessing: ("smooth", "equalise", "in_plane_factor", "in_plane_size", "shrink_to_size"),
    SamplingConfig: ("modality_dropout", "frames"),
    PredictionConfig: ("frames",),
    ValidationConfig: ("keep", "soft"),
    Stage: ("sections", "loss", "lr"),
}
"""Part of a recipe → keys that recipes of earlier versions have not."""


def _left_out(config: BaseModel) -> dict[str, bool]:
    """Added keys that have their defaults: a digest goes without them, so that those of older recipes stand."""
    fields = type(config).model_fields
    return {
        key: True
        for key in ADDED[type(config)]
        if getattr(config, key) == fields[key].get_default(call_default_factory=True)
    }
