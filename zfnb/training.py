"""Training a network of the paper from pictures (Sec. 3.1), on a laptop or on several GPUs.

`train` does a whole run, from random weights or from a trained network's. A run is a folder:

    run.json            what was run: settings, data, commit, versions, times
    log.jsonl           one line a step (loss, learning rate), one an epoch (errors, filters)
    checkpoints/        the two newest, see `zfnb.checkpoints`
    snapshots/          the network after epochs 1, 2, 5, 10, 15, ... (Fig. 4), float16
    NETWORK.safetensors the trained network, for `zfnb.load_model`
    result.json         its errors

Whatever is random in a step (which pictures, their crops, dropout) is drawn from a generator seeded
by (seed, epoch, step), so a run that was killed goes on as if nothing had happened.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset, Subset
from tqdm import tqdm

from zfnb import checkpoints
from zfnb.adopt import fold_batch_norm
from zfnb.batches import (
    Squares,
    cached,
    central,
    epoch_batches,
    fetch,
    hold_out,
    in_parts,
    mean_picture,
    seeded,
    stored_size,
    training_inputs,
)
from zfnb.branch import branch
from zfnb.checks import whole_number
from zfnb.data.base import class_names
from zfnb.errors import BadInput, MissingData, UnknownName
from zfnb.evaluate import in_top, probabilities
from zfnb.fine_tuning import LOADED, classifier, description_of, fine_tuning, take_over
from zfnb.memory import keep_memory
from zfnb.models import (
    Network,
    build,
    describe_variant,
    evaluating,
    imagenet_preprocessing,
    load_model,
)
from zfnb.named import weights_name
from zfnb.processes import Processes, choose_device, exact, processes
from zfnb.recipes import (
    Plateau,
    Recipe,
    clip_filters,
    cosine,
    filter_rms,
    filters,
    start,
    trapezoid,
)
from zfnb.runs import check_same, code, command, commit, machine, read_json, timestamp, write_json
from zfnb.weights import fingerprint, save_weights, trained_width
from zfnb.winograd import use_winograd

PRECISIONS = ("float32", "bfloat16")
FLUSH_EVERY = 50  # steps between looks at the losses: each look waits for the device
SHARE = "choose an --out that all machines see, on a disk that they share"


@dataclass(frozen=True)
class Settings:
    """What a run is made of; two runs with equal settings on one machine give equal networks.

    Parameters
    ----------
    network : str
        A name from `zfnb.models.NETWORKS`.
    data : str
        Name of the dataset.
    recipe : Recipe
    input_size : int
        Side of the network's input in pixels.
    width : float, optional
        Factor on the number of maps and units. None: that of `weights`, else 1.
    precision : {"float32", "bfloat16"}
    seed : int
    holdout : int
        Pictures of each class that are kept out of training, to tune on. The schedule "plateau"
        lowers the learning rate by their error, so without any its rate stays. 0: none.
    weights : str or path, optional
        Where to start from, as for `zfnb.load_model`: all but the classifier is taken over, and the
        recipe becomes that of `zfnb.fine_tuning`. None: random weights.
    """

    network: str
    data: str
    recipe: Recipe
    input_size: int = 224
    width: float | None = None
    precision: str = "float32"
    seed: int = 0
    holdout: int = 0
    weights: str | os.PathLike | None = None

    def __post_init__(self) -> None:
        if self.weights is not None:
            object.__setattr__(self, "recipe", fine_tuning(self.recipe))
        if self.precision not in PRECISIONS:
            raise UnknownName.of("precision", self.precision, PRECISIONS)
        if self.width is None:
            width = 1.0 if self.weights is None else trained_width(self.network, self.weights)
            object.__setattr__(self, "width", width)
        for name in ("seed", "holdout"):
            number = whole_number(
                getattr(self, name), f"{name} must be a whole number from 0 on", 0
            )
            object.__setattr__(self, name, number)
        counts = {
            name: whole_number(
                getattr(self.recipe, name), f"{name} must be a whole number of at least 1", 1
            )
            for name in ("epochs", "batch")
        }
        object.__setattr__(self, "recipe", replace(self.recipe, **counts))
        recipe = self.recipe
        if not 0 < recipe.lr < float("inf"):
            raise BadInput(f"lr must be a positive number, not {recipe.lr!r}.")
        if not 0 <= recipe.dropout < 1:
            raise BadInput(f"dropout must be in [0, 1), not {recipe.dropout!r}.")
        if recipe.schedule == "trapezoid" and not 0 <= recipe.cool_down <= recipe.epochs:
            raise BadInput(
                f"cool_down must be from 0 to the {recipe.epochs} epochs of the run, not "
                f"{recipe.cool_down!r}."
            )

    def facts(self) -> dict:
        """As files keep them: without the places of one machine, `weights` only if there are any.

        So a run that was started before there were `weights` looks like one without.
        """
        facts = asdict(self)
        weights = facts.pop("weights")
        return facts if weights is None else {**facts, "weights": weights_name(weights)}

    def variant(self) -> dict:
        """What `load_model` needs to rebuild the network."""
        variant = {"input_size": self.input_size}
        return variant if self.width == 1 else {**variant, "width": self.width}

    def source(self) -> Network | None:
        """The network that training starts from; None for random weights."""
        if self.weights is None:
            return None
        size = {"input_size": self.input_size, "width": self.width}
        return load_model(self.network, weights=self.weights, **size)


def checksum(source: Network) -> str:
    """What run.json has of the network that a run started from, whose file may keep its name."""
    return fingerprint(source)[:16]


def snapshot_epochs(epochs: int) -> set[int]:
    """Epochs whose network is kept (Fig. 4): 1, 2, then every fifth, and the last."""
    return {epoch for epoch in (1, 2, *range(5, epochs, 5), epochs) if epoch <= epochs}


class Run:
    """One training run; see `train` for its arguments.

    Attributes
    ----------
    net : Network
        Being trained, on the device.
    start : str or None
        Checksum of the network that it started from; None for random weights.
    epoch, step : int
        Epochs done, and steps done within this one.
    losses : list of float
        Of the steps of this process's life.
    """

    def __init__(
        self,
        settings: Settings,
        train_set: Dataset,
        folder: Path,
        *,
        cache: Path | None,
        device: torch.device,
        group: Processes,
        workers: int = 0,
        compiled: bool = False,
        progress: bool = True,
    ):
        self.settings, self.recipe = settings, settings.recipe
        self.folder, self.device, self.group = folder, device, group
        self.workers, self.progress = workers, progress and group.rank == 0
        if self.recipe.batch % group.world:
            raise BadInput(
                f"A batch of {self.recipe.batch} cannot be shared by {group.world} processes; "
                "choose a multiple."
            )
        self.train_set = train_set
        self.targets = torch.as_tensor(np.asarray(train_set.targets), dtype=torch.long)
        if not len(self.targets):
            raise BadInput(f"The dataset {settings.data} has no training pictures.")
        self.learn = np.arange(len(self.targets))
        self.held = np.arange(0)
        if settings.holdout:
            self.learn, self.held = hold_out(self.targets, settings.holdout)
        if len(self.learn) < group.world:
            raise BadInput(
                f"{group.world} processes cannot share {len(self.learn)} training pictures; start "
                "fewer processes."
            )
        self.squares = self._squares(cache)
        self.start: str | None = None
        self.net = self._network().to(device, memory_format=torch.channels_last)
        if device.type == "cpu":
            keep_memory()
            use_winograd(self.net)
        self.mean: Tensor | None = None
        self.model: nn.Module = self.net
        if group.world > 1:
            if device.type == "cuda":  # on a CPU each process normalises by its own share
                self.net = nn.SyncBatchNorm.convert_sync_batchnorm(self.net)
            self.model = DistributedDataParallel(
                self.net, [device] if device.type == "cuda" else None
            )
        if compiled:
            self.model = torch.compile(self.model)
        self.optimizer = self._optimizer()
        self.plateau = Plateau()
        self.generator = torch.Generator()
        self.epoch = self.step = 0
        self.losses: list[float] = []
        self.sums = [0.0, 0.0, 0.0]  # of this epoch: loss, right, pictures
        self.waiting: list[tuple[dict, Tensor]] = []  # steps whose loss is still on the device
        self.seconds = 0.0  # of this epoch, over all of the run's lives
        self.log = folder / "log.jsonl"
        self.writer = None  # of TensorBoard, if asked for

    def _squares(self, cache: Path | None) -> Squares:
        size = stored_size(self.settings.data, self.settings.input_size)
        if cache is None:
            return Squares(self.train_set, size)
        rank = self.group.rank
        # One process decodes for all; then one on each machine that does not see the first one's
        # folder.
        for decodes in (rank == 0, rank > 0 and self.group.local == 0):
            if decodes:
                with checkpoints.saving(cache):
                    cached(self.train_set, size, cache, self.workers, self.progress)
            self.group.wait()
        return cached(self.train_set, size, cache, self.workers, False)

    def _network(self) -> Network:
        settings, recipe = self.settings, self.recipe
        source = settings.source()
        if source is None:
            description = describe_variant(
                settings.network, **settings.variant(), batch_norm=recipe.batch_norm
            )
            preprocessing = imagenet_preprocessing(settings.input_size)
            if recipe.std is not None:
                preprocessing = replace(preprocessing, std=recipe.std)
        else:
            description, preprocessing = description_of(source), source.preprocessing
            self.start = checksum(source)
        torch.manual_seed(seeded("start", settings.seed))
        net = build(
            description,
            len(self.train_set.classes),
            preprocessing=preprocessing,
            classes=class_names(self.train_set),
        )
        start(net, recipe)
        if source is not None:
            take_over(net, source)
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.p = recipe.dropout
            if isinstance(module, nn.ReLU):
                module.inplace = True  # nothing else reads its input while training
        return net

    def _optimizer(self) -> torch.optim.SGD:
        new, groups = classifier(self.net), {}
        for name, parameter in self.net.named_parameters():
            decay = self.recipe.weight_decay if parameter.ndim > 1 else 0.0
            loaded = self.settings.weights is not None and name.split(".")[0] != new
            groups.setdefault((decay, LOADED if loaded else 1.0), []).append(parameter)
        return torch.optim.SGD(
            [
                {"params": parameters, "weight_decay": decay, "factor": factor}
                for (decay, factor), parameters in groups.items()
            ],
            lr=self.recipe.lr,
            momentum=self.recipe.momentum,
            nesterov=self.recipe.nesterov,
            fused=True,
        )

    @property
    def steps_per_epoch(self) -> int:
        return max(1, len(self.learn) // self.recipe.batch)

    @property
    def global_step(self) -> int:
        return self.epoch * self.steps_per_epoch + self.step

    def rate(self) -> float:
        """Learning rate of the step to come; what was loaded moves at `LOADED` of it."""
        if self.recipe.schedule == "plateau":
            return self.recipe.lr * self.plateau.factor
        recipe, done = self.recipe, (self.global_step + 0.5) / self.steps_per_epoch
        if recipe.schedule == "trapezoid":
            return recipe.lr * trapezoid(done, recipe.epochs, recipe.warm_up, recipe.cool_down)
        return recipe.lr * cosine(done / recipe.epochs, recipe.warm_up / recipe.epochs)

    def autocast(self) -> torch.autocast:
        """The precision of a step's forward pass: a context, which does nothing for float32."""
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"
        )

    def prepare(self) -> None:
        """The mean of the training pictures, if the recipe asks for it; before the first step."""
        if self.recipe.pixel_mean and self.mean is None:
            self._use_mean(mean_picture(self.squares, self.learn, self.workers))

    def _use_mean(self, mean: Tensor) -> None:
        """Subtract this mean (3, S, S), in [0, 255], of each pixel from now on."""
        self.mean = mean.to(self.device)
        # The saved network has a mean of each channel: a mean of each pixel is no part of the
        # paper's graph, and differs little from it.
        channels = tuple((self.mean.mean((1, 2)) / 255).tolist())
        self.net.preprocessing = replace(self.net.preprocessing, mean=channels)

    def take_step(self, pictures: Tensor, batch: np.ndarray) -> None:
        """One step on this process's share `pictures` (n, 3, S, S) of the indices `batch`."""
        seed = (self.settings.seed, self.epoch, self.step)
        self.generator.manual_seed(seeded("crops", *seed))
        torch.manual_seed(seeded("dropout", *seed, self.group.rank))
        rate = self.rate()
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate * parameters["factor"]
        part = self.group.part(len(batch))
        targets = self.targets[batch[part]].to(self.device)
        with self.autocast():
            x = training_inputs(
                pictures.to(self.device, non_blocking=True),
                self.net.preprocessing,
                self.recipe.augmentation,
                self.generator,
                self.mean,
                part,
                len(batch),
            )
            x = x.contiguous(memory_format=torch.channels_last)
            logits = self.model(x)
            loss = F.cross_entropy(logits.float(), targets, label_smoothing=self.recipe.smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        # The mean of gradients over processes counts each process alike; each picture shall count
        # alike. The factor is 1 but where all pictures are one batch that cannot be shared evenly.
        share = len(targets) * self.group.world / len(batch)
        (loss if share == 1 else loss * share).backward()
        self.optimizer.step()
        if self.recipe.clip:
            clip_filters(self.net, self.net.preprocessing.std)
        self.step += 1
        with torch.no_grad():
            right = in_top(logits, targets, (1,)).sum()
            numbers = torch.stack([loss * len(targets), right, loss.new_tensor(len(targets))])
        line = {"kind": "step", "epoch": self.epoch + 1, "step": self.global_step, "lr": rate}
        self.waiting.append((line, numbers.detach().to(exact(self.device))))

    def flush(self) -> None:
        """Fetch the losses of the last steps, check them, and write them to the log."""
        if not self.waiting:
            return
        lines, numbers = zip(*self.waiting, strict=True)
        self.waiting = []
        rows = self.group.total(torch.stack(numbers)).cpu().tolist()
        text = []
        for line, (loss, right, count) in zip(lines, rows, strict=True):
            self.losses.append(loss / count)
            self.sums = [a + b for a, b in zip(self.sums, (loss, right, count), strict=True)]
            text.append({**line, "loss": loss / count})
        self.write_log(text)
        if not np.isfinite(self.losses[-1]):
            raise BadInput(
                f"The loss is {self.losses[-1]} at step {self.global_step}: training has diverged. "
                "Start again with a lower --lr."
            )

    def write_log(self, lines: list[dict]) -> None:
        """Append lines to the log (the first process only), and to the curves of TensorBoard.

        CannotSave on a full disk.
        """
        if self.group.rank == 0:
            resume = checkpoints.RESUME
            with checkpoints.saving(self.log, resume), self.log.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
        for line in lines if self.writer else ():
            step = line.get("step", self.global_step)  # an epoch's line stands at its end
            for name, value in line.items():
                if isinstance(value, float):
                    self.writer.add_scalar(f"{line['kind']}/{name}", value, step)

    def fit(self, checkpoint_every: int, on_step: Callable | None, on_epoch: Callable | None):
        """Train from where the run stands to its end."""
        self.prepare()
        while self.epoch < self.recipe.epochs:
            self.model.train()
            batches = epoch_batches(self.learn, self.recipe.batch, self.settings.seed, self.epoch)
            todo = batches[self.step :]
            shares = [batch[self.group.part(len(batch))] for batch in todo]
            loader = fetch(self.squares, shares, self.workers)
            bar = tqdm(
                loader,
                f"epoch {self.epoch + 1}/{self.recipe.epochs}",
                len(batches),
                initial=self.step,
                disable=not (self.progress and sys.stderr.isatty()),
            )
            since = time.perf_counter()
            for batch, pictures in zip(todo, bar, strict=True):
                self.take_step(pictures, batch)
                now = time.perf_counter()
                self.seconds, since = self.seconds + now - since, now
                if self.step % FLUSH_EVERY == 0:
                    self.flush()
                    bar.set_postfix(loss=f"{self.losses[-1]:.3f}")
                if self.step % checkpoint_every == 0:
                    self.save()
                if on_step:
                    on_step(self)
            self.end_epoch(on_epoch)

    def end_epoch(self, on_epoch: Callable | None) -> None:
        """Measure and log the epoch, keep its snapshot if it is due, and write a checkpoint."""
        self.flush()
        # On CPUs each process has means and variances of its own; the first one's are saved.
        self.group.share(self.net.buffers())
        loss, right, count = self.sums
        line = {
            "kind": "epoch",
            "epoch": self.epoch + 1,
            "train_loss": loss / count,
            "train_error": 100 * (1 - right / count),  # on augmented pictures, with dropout
            "seconds": round(self.seconds, 1),
            "pictures_per_second": round(count / self.seconds, 1),
            "filter_rms": {
                name: [round(float(v), 6) for v in filter_rms(m.weight).aminmax()]
                for name, m in filters(self.net)
            },
        }
        if len(self.held):
            line |= self.held_out_errors()
        self.epoch, self.step, self.sums, self.seconds = self.epoch + 1, 0, [0.0] * 3, 0.0
        if self.recipe.schedule == "plateau" and len(self.held):
            self.plateau.after_epoch(line["held_error"])
        line["lr"] = self.rate()  # of the step to come, whatever the schedule
        self.write_log([line])
        if self.group.rank == 0 and self.epoch in snapshot_epochs(self.recipe.epochs):
            name = f"epoch-{self.epoch:03d}.safetensors"
            self.export(self.folder / "snapshots" / name)
        self.save()
        if self.progress:
            held = f", held out {line['held_error']:.1f} %" if len(self.held) else ""
            tqdm.write(
                f"epoch {self.epoch}: loss {line['train_loss']:.3f}, error "
                f"{line['train_error']:.1f} %{held}, {line['pictures_per_second']:.0f} pictures/s",
                file=sys.stderr,
            )
        if on_epoch:
            on_epoch(self, line)

    def held_out_errors(self) -> dict[str, float]:
        """Top-1 and top-5 error in percent on the held-out training pictures, central crop.

        In float32 whatever the run's precision: rounded to bfloat16, scores of different classes
        become equal, and a tie counts as a mistake.
        """
        mine = self.held[self.group.rank :: self.group.world]
        counts = torch.zeros(3, dtype=exact(self.device), device=self.device)
        parts = list(in_parts(mine, self.recipe.batch))
        with evaluating(self.net):
            for places, pictures in zip(parts, fetch(self.squares, parts), strict=True):
                x = central(pictures.to(self.device), self.net.preprocessing, self.mean)
                logits = self.net(x.contiguous(memory_format=torch.channels_last))
                right = in_top(logits.float(), self.targets[places].to(self.device))
                counts[:2] += right.sum(0).to(counts)
                counts[2] += len(places)
        top1, top5, count = self.group.total(counts).tolist()
        return {"held_error": 100 * (1 - top1 / count), "held_error5": 100 * (1 - top5 / count)}

    def exported(self) -> Network:
        """The network as it is now, batch normalisation folded away: the paper's plain graph."""
        if self.recipe.batch_norm:
            return fold_batch_norm(self.net).cpu()
        return self.net

    def export(self, path: Path) -> None:
        """Save `exported` as weights (float16) with where they come from; CannotSave on a full
        disk."""
        facts = {
            "data": self.settings.data,
            "recipe": self.recipe.name,
            "epochs": str(self.epoch),
            "seed": str(self.settings.seed),
            "commit": commit()["commit"] or "unknown",
        }
        if self.settings.weights is not None:
            facts["weights"] = weights_name(self.settings.weights)
        with checkpoints.saving(path, checkpoints.RESUME):
            save_weights(self.exported(), path, self.settings.variant(), **facts)

    def save(self) -> None:
        """Write a checkpoint (the first process only)."""
        self.flush()
        if self.group.rank == 0:
            tensors = {f"net.{key}": value for key, value in self.net.state_dict().items()}
            for name, parameter in self.net.named_parameters():
                momentum = self.optimizer.state[parameter].get("momentum_buffer")
                if momentum is not None:
                    tensors[f"momentum.{name}"] = momentum
            if self.mean is not None:
                tensors["mean"] = self.mean
            state = {
                "epoch": self.epoch,
                "step_in_epoch": self.step,
                "sums": self.sums,
                "seconds": self.seconds,
                "plateau": asdict(self.plateau),
                "log_bytes": self.log.stat().st_size if self.log.exists() else 0,
            }
            checkpoints.save(self.folder / "checkpoints", self.global_step, tensors, state)

    def restore(self) -> bool:
        """Go back to the newest good checkpoint; False if there is none."""
        found = checkpoints.load_latest(self.folder / "checkpoints")
        if found is None:
            return False
        tensors, state = found
        weights = {k.removeprefix("net."): t for k, t in tensors.items() if k.startswith("net.")}
        self.net.load_state_dict(weights)
        for name, parameter in self.net.named_parameters():
            if f"momentum.{name}" in tensors:
                # The parameter's own memory format, so that every sum is done in the same way.
                momentum = torch.empty_like(parameter).copy_(tensors[f"momentum.{name}"])
                self.optimizer.state[parameter]["momentum_buffer"] = momentum.detach()
        self.mean = None
        if "mean" in tensors:
            self._use_mean(tensors["mean"])
        self.epoch, self.step = state["epoch"], state["step_in_epoch"]
        self.sums, self.seconds = state["sums"], state["seconds"]
        self.plateau = Plateau(**state["plateau"])
        if self.group.rank == 0 and self.log.exists():
            os.truncate(self.log, min(state["log_bytes"], self.log.stat().st_size))
        return True

    def clear(self) -> None:
        """Remove what a run that did not get far has left here, before the first step of this one.

        A branch is copied into its folder before there is a run.json, so a killed one leaves the
        other run's log, checkpoints and snapshots.
        """
        if self.group.rank == 0:
            self.log.unlink(missing_ok=True)
            for pattern in ("checkpoints/step-*", "snapshots/epoch-*.safetensors"):
                for left in self.folder.glob(pattern):
                    left.unlink(missing_ok=True)

    def check_together(self) -> None:
        """Refuse, in all processes, those that would not begin where the first one begins.

        Gradients of different weights can be averaged, but mean nothing. It happens to machines
        that look for the checkpoint each on a disk of its own. Waits for all processes.
        """
        if self.group.world == 1:
            return
        first, *others = self.group.gather((self.epoch, self.step, checksum(self.net)))
        for rank, other in enumerate(others, 1):
            if other != first:
                places = [f"epoch {epoch}, step {step}" for epoch, step, _ in (first, other)]
                with_other = ", with other weights" if other[:2] == first[:2] else ""
                raise BadInput(
                    f"In {self.folder} process 0 stands at {places[0]}, and process {rank} at "
                    f"{places[1]}{with_other}; {SHARE}."
                )


def tensorboard_writer(folder: Path, step: int):
    """A writer of curves; what an earlier life of the run wrote after `step` is dropped."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingData(
            "The curves for TensorBoard need its package: pip install tensorboard, or leave out "
            "--tensorboard; log.jsonl has the same numbers."
        ) from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step)


def data_facts(settings: Settings, train_set: Dataset, squares: Squares | None = None) -> dict:
    """What says whether pictures are those of a run; part of what run.json has of them.

    Parameters
    ----------
    settings : Settings
    train_set : Dataset
    squares : Squares, optional
        Its pictures, if they are decoded already.

    Returns
    -------
    dict
        ``name``; ``sampled``, the SHA-256 of all targets and of 64 pictures; ``classes``, their
        number.
    """
    if squares is None:
        squares = Squares(train_set, stored_size(settings.data, settings.input_size))
    targets = np.asarray(train_set.targets, dtype=np.int64)
    digest = hashlib.sha256(targets.tobytes())
    for index in np.linspace(0, len(targets) - 1, 64).astype(int):
        digest.update(squares[index].tobytes())
    return {
        "name": settings.data,
        "sampled": digest.hexdigest(),
        "classes": len(train_set.classes),
    }


def describe_run(settings: Settings, run: Run) -> dict:
    """What is written to run.json."""
    return {
        "command": command(settings),
        "settings": settings.facts(),
        "data": {
            **data_facts(settings, run.train_set, run.squares),
            "training_pictures": len(run.learn),
            "held_out_pictures": len(run.held),
            "stored_size": run.squares.size,
        },
        **({} if run.start is None else {"start": {"weights": run.start}}),
        "code": code(),
        "machine": {**machine(run.device), "processes": run.group.world},
        "started": timestamp(),
    }


def train(
    settings: Settings,
    train_set: Dataset,
    val_set: Dataset | None,
    folder: str | os.PathLike,
    *,
    resume: bool = False,
    branch_of: str | os.PathLike | None = None,
    cache: str | os.PathLike | None = None,
    device: str | None = None,
    workers: int = 0,
    compiled: bool = False,
    tensorboard: bool = False,
    checkpoint_every: int = 200,
    progress: bool = True,
    on_step: Callable[[Run], None] | None = None,
    on_epoch: Callable[[Run, dict], None] | None = None,
) -> dict:
    """Train a network, or go on with a run that was interrupted.

    Under ``torchrun`` the processes share each batch (the batch stays the effective one). The steps
    are those of one process, to rounding, but for what each process draws or measures on its own
    share: dropout, and on CPUs the means and variances of batch normalisation.

    Several machines need a `folder` that all of them see, to go on with a run or to branch; where
    they stand at different places in it, all refuse. A `cache` that they share is decoded once,
    else once on each machine, one machine after the first.

    Parameters
    ----------
    settings : Settings
    train_set, val_set : Dataset
        Items (PIL image, target), as from `zfnb.load_dataset`. The errors on `val_set`, of the
        network as it was saved, are computed once, at the end.
    folder : path
        Of the run; see the top of this file.
    resume : bool
        Go on from the newest good checkpoint in `folder`, if there is one.
    branch_of : path, optional
        Start from where another run stands that differs in its number of epochs and its cool-down
        only; `zfnb.branch`.
    cache : path, optional
        Folder for the decoded pictures; `zfnb.batches.cached`. None: decode in every epoch, by
        `workers` processes.
    device : str, optional
        "cpu", "cuda", ...; the GPU if there is one.
    workers : int
        Processes that read pictures.
    compiled : bool
        Use `torch.compile`.
    tensorboard : bool
        Write curves for TensorBoard as well, if that package is installed.
    checkpoint_every : int
        Steps between checkpoints; there is one after each epoch as well.
    progress : bool
        Bars and one line an epoch on stderr.
    on_step, on_epoch : callable, optional
        Called with the run (and the epoch's log line): live curves.

    Returns
    -------
    dict
        What result.json holds: errors in percent on the held-out and the validation pictures.

    Raises
    ------
    BadInput
        Bad settings; a folder that holds another run, or a finished one without checkpoints; a
        loss that diverged; only damaged checkpoints.
    CannotSave
        A full disk. Run again with `resume` once there is space.
    """
    folder = Path(folder)
    if checkpoint_every < 1:
        raise BadInput(f"checkpoint_every must be at least 1, not {checkpoint_every}.")
    chosen = choose_device(device)
    with processes(chosen) as group:
        begun = (folder / "run.json").exists()
        sees = group.gather(begun)  # before the first process writes it
        if len(set(sees)) > 1:
            raise BadInput(
                f"Process {sees.index(True)} finds a run in {folder}, and process "
                f"{sees.index(False)} finds none; {SHARE}."
            )
        if begun and not resume:
            raise BadInput(
                f"{folder} holds a run already; continue it with --resume, or choose another --out."
            )
        run = Run(
            settings,
            train_set,
            folder,
            cache=None if cache is None else Path(cache),
            device=chosen,
            group=group,
            workers=workers,
            compiled=compiled,
            progress=progress,
        )
        facts = describe_run(settings, run)
        if begun:
            before = read_json(folder / "run.json")
            check_same(before, facts, folder)
            # Earlier versions kept the date alone, as a string.
            now = {"date": facts["started"], "code": facts["code"], "machine": facts["machine"]}
            facts = {**before, "continued": [*before.get("continued", []), now]}
            if not run.restore():
                if (folder / "result.json").exists():
                    raise BadInput(
                        f"{folder} holds a finished run whose checkpoints are gone, so it cannot "
                        "go on; choose another --out."
                    )
                run.clear()
        else:
            run.clear()
            if branch_of is not None:
                if group.rank == 0:
                    facts["branch"] = branch(
                        Path(branch_of), folder, settings, run.steps_per_epoch, facts
                    )
                group.wait()
                if not any(group.gather(run.restore())):
                    raise BadInput(
                        f"The checkpoint of the run in {branch_of} has not arrived in {folder}: "
                        "that run wrote newer ones meanwhile, or the folder cannot be read; try "
                        "again."
                    )
        run.check_together()  # and wait: nobody reads a checkpoint when the first one writes
        try:
            if group.rank == 0:
                if tensorboard:  # before there is a run: its package may be missing
                    run.writer = tensorboard_writer(folder, run.global_step)
                write_json(folder / "run.json", facts)
            run.fit(checkpoint_every, on_step, on_epoch)
        finally:
            if run.writer:
                run.writer.close()
        result = {"epochs": run.epoch, **(run.held_out_errors() if len(run.held) else {})}
        result |= finish(run, val_set)
        if group.rank == 0:
            write_json(folder / "result.json", result)
        group.wait()
        return result


def finish(run: Run, val_set: Dataset | None) -> dict:
    """Save the trained network, and measure it on the validation pictures as it was saved.

    Each process takes its share of the pictures.
    """
    if run.group.rank == 0:
        run.export(run.folder / f"{run.settings.network}.safetensors")
    if val_set is None:
        return {}
    net = copy.deepcopy(run.exported()).eval().to(run.device)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.half())  # as in the file
    mine = range(run.group.rank, len(val_set), run.group.world)
    counts = torch.zeros(2, dtype=exact(run.device), device=run.device)
    if len(mine):
        scores = probabilities(net, Subset(val_set, mine), workers=run.workers)
        targets = torch.as_tensor(np.asarray(val_set.targets)[mine], dtype=torch.long)
        counts += in_top(scores, targets).sum(0).to(counts)
    right = run.group.total(counts).cpu().double()
    top1, top5 = (100 * (1 - right / len(val_set))).tolist()
    return {"val_pictures": len(val_set), "val_error": top1, "val_error5": top5}
