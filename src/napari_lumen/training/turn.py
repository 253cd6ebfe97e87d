"""One step of a training on one device: backward passes, gradients of all devices, one update."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from threading import Event
from typing import Any

import torch
import torch.distributed
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from napari_lumen.errors import Cancelled, RunError, some_of
from napari_lumen.training.example import Batch

Loss = Callable[[nn.Module, Batch], Tensor | dict[str, Tensor]]
_LOWER = "Lower the learning rate"
_LOOK = "Look at these images and their labels, or lower the learning rate"


class Turn:
    """What a recipe makes its steps with; it hides device, precision, accumulation and other devices.

    Every device holds the whole network. Gradients are averaged over the devices by hand and not by torch's
    `DistributedDataParallel`: that one sees a single forward and backward pass in a step, while recipes
    here alternate between optimisers, go through parts of a network, and go back twice.

    Parameters
    ----------
    fabric : Fabric
        Launched; decides device and precision.
    network : Module
        On the device.
    micro_batch : int, optional
        Examples that go through the network at once; a step accumulates the gradients of as many parts as
        its share of the batch asks for.
    largest_gradient : float, optional
        Norm that gradients are clipped to.
    cancel : Event
    trial : bool
        Whether these steps are tried for a dry run, which keeps nothing.

    Attributes
    ----------
    phase, epoch, step : int
        Where the training stands.
    touched : bool
        Whether this step has gone through the network: then it is as it was before no more.
    """

    def __init__(
        self,
        fabric: Fabric,
        network: nn.Module,
        *,
        micro_batch: int | None = None,
        largest_gradient: float | None = None,
        cancel: Event | None = None,
        trial: bool = False,
    ) -> None:
        self._kept = "" if trial else "; what was kept so far stays"
        self._fabric = fabric
        self.network = network
        self.micro_batch = micro_batch
        self._largest_gradient = largest_gradient
        self._cancel = cancel or Event()
        self._optimisers: dict[str, Optimizer] = {}
        self._bad: str | None = None  # which loss of this step was no number
        self.phase = self.epoch = self.step = 0
        self.phase_name = ""
        self.touched = False

    @property
    def device(self) -> torch.device:
        """Where network and batches are."""
        return self._fabric.device

    @property
    def rank(self) -> int:
        """Number of this device, from 0."""
        return self._fabric.global_rank

    @property
    def world(self) -> int:
        """How many devices train."""
        return self._fabric.world_size

    def use(self, optimisers: Mapping[str, Optimizer]) -> None:
        """Make the following steps with these optimisers."""
        wrapped = {name: self._fabric.setup_optimizers(item) for name, item in optimisers.items()}
        self._optimisers = wrapped  # type: ignore[assignment]

    def autocast(self) -> AbstractContextManager[None]:
        """Compute in the precision of the training while the block runs."""
        return self._fabric.autocast()

    def check(self) -> None:
        """Raise `Cancelled` when the user asked for it; long steps call this between their parts.

        One of several devices cannot leave alone: they do so between two steps, by `check_together`.
        """
        if self.world == 1:
            self.check_together()

    def check_together(self) -> None:
        """Raise `Cancelled` on all devices when any was asked to stop."""
        if self.on_any_device(self._cancel.is_set()):
            raise Cancelled("The training was cancelled; the same call goes on from there.")

    def on_any_device(self, here: bool) -> bool:
        """Tell whether something is so on any device; all of them must ask."""
        return self.of_all_devices(float(here)) > 0

    def of_all_devices(self, here: float) -> float:
        """Return the sum of what all devices have; all of them must ask."""
        if self.world == 1:
            return here
        total: Any = self._fabric.all_reduce(
            torch.tensor(here, dtype=torch.float64, device=self.device), reduce_op="sum"
        )
        return float(total)

    def descend(
        self, optimiser: str, batch: Batch, loss: Loss, weight: Callable[[Batch], int] | None = None
    ) -> dict[str, float]:
        """Make one update by the gradients of a loss.

        Parameters
        ----------
        optimiser : str
            Only its parameters are differentiated and changed.
        batch : Batch
        loss : callable
            Takes the network and a part of the batch; returns its mean over the part, or several terms of
            which ``loss`` is descended.
        weight : callable, optional
            How many things the mean over a part is of, such as its labelled pixels: the update is then by
            the mean over those of all parts and devices, and there is none where no device has any. By
            default its examples.

        Returns
        -------
        dict of str to float
            The terms, as means over what this device has.

        Raises
        ------
        RunError
            When the loss is no finite number; nothing is changed then.
        Cancelled
            Between two parts.
        """
        parameters = self.parameters(optimiser)
        count = len if weight is None else weight
        own = count(batch)
        total = batch.total if weight is None else self.of_all_devices(own)
        if not total:  # the moments of an optimiser would move the weights all the same
            return {"loss": 0.0}
        sums: dict[str, Tensor] = {}
        for part in batch.parts(self.micro_batch):
            self.check()
            self.touched = True
            with self.autocast():
                terms = loss(self.network, part)
            terms = {"loss": terms} if isinstance(terms, Tensor) else terms
            counted = count(part)
            self.backward(terms["loss"], part, inputs=parameters, share=counted / total)
            for name, term in terms.items():
                weighted = term.detach() * (counted / max(own, 1))
                sums[name] = sums[name] + weighted if name in sums else weighted
        self.update(optimiser)
        return {name: value.item() for name, value in sums.items()}

    def backward(
        self,
        loss: Tensor,
        part: Batch,
        inputs: Sequence[Tensor] | None = None,
        share: float | None = None,
    ) -> None:
        """Add the gradients of a part's mean loss, weighted by its share of the step.

        Parameters
        ----------
        loss : Tensor
            Scalar, a mean over the part.
        part : Batch
        inputs : sequence of Tensor, optional
            What to differentiate by; everything by default.
        share : float, optional
            Of the part in the step on all devices; by default that of its examples.
        """
        self.touched = True
        if not math.isfinite(value := loss.item()):
            self._report(f"the loss is {value} on {some_of(part.names, 8)}")
        if share is None:
            share = len(part) / part.total
        self._fabric.backward(loss * (share * self.world), inputs=inputs)  # devices are averaged

    def require_finite_weights(self) -> None:
        """Raise RunError where a number of the network is none: no loss comes after the last step.

        All devices have the same.
        """
        numbers = (value for value in self.network.state_dict().values() if value.is_floating_point())
        if not all(bool(value.isfinite().all()) for value in numbers):
            raise self._error("a weight is nan or infinite", _LOWER)

    def finite(self, answer: Tensor) -> Tensor:
        """Return what the network says of held-out data.

        Raises
        ------
        RunError
            When it is no number.
        """
        if not bool(answer.isfinite().all()):
            raise self._error("what the network says of held-out data is nan or infinite", _LOWER)
        return answer

    def update(self, optimiser: str) -> None:
        """Change the parameters of an optimiser by the mean gradient of all devices, and clear it."""
        if self.world > 1:
            self._agree()
            self._average(self.parameters(optimiser))
        chosen = self._optimisers[optimiser]
        if self._largest_gradient is not None:
            self._fabric.clip_gradients(
                self.network,
                chosen,
                max_norm=self._largest_gradient,
                error_if_nonfinite=False,
            )
        chosen.step()
        chosen.zero_grad(set_to_none=True)

    def parameters(self, optimiser: str) -> list[Tensor]:
        """Return the parameters of an optimiser that want a gradient."""
        groups = self._optimisers[optimiser].param_groups
        return [item for group in groups for item in group["params"] if item.requires_grad]

    def groups(self, optimiser: str) -> list[dict[str, Any]]:
        """Return the parameter groups of an optimiser, whose rates may be set."""
        return self._optimisers[optimiser].param_groups

    def rates(self) -> dict[str, float]:
        """Return the learning rate of each group, by optimiser and number."""
        return {
            f"{name} {number}" if len(item.param_groups) > 1 else name: float(group["lr"])
            for name, item in self._optimisers.items()
            for number, group in enumerate(item.param_groups)
        }

    def state(self) -> dict[str, object]:
        """Return the state of the optimisers and of the precision, for a checkpoint."""
        return {
            "optimisers": {name: item.state_dict() for name, item in self._optimisers.items()},
            "precision": self._fabric.strategy.precision.state_dict(),
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on with the state of a checkpoint."""
        optimisers, precision = state["optimisers"], state["precision"]
        assert isinstance(optimisers, dict)
        assert isinstance(precision, dict)
        if optimisers:  # none are stored between two phases
            for name, item in self._optimisers.items():
                item.load_state_dict(optimisers[name])
        if precision:
            self._fabric.strategy.precision.load_state_dict(precision)

    def _report(self, problem: str) -> None:
        """Stop here when this is the only device; else note it, for all devices to stop together."""
        if self.world == 1:
            raise self._error(problem)
        self._bad = self._bad or problem

    def _agree(self) -> None:
        if self.on_any_device(self._bad is not None):
            problems: list[str | None] = [None] * self.world
            torch.distributed.all_gather_object(problems, self._bad)
            raise self._error(next(problem for problem in problems if problem))

    def _error(self, problem: str, advice: str = _LOOK) -> RunError:
        return RunError(
            f"The training stopped at step {self.step + 1} of epoch {self.epoch + 1} of phase "
            f"{self.phase_name!r}: {problem}. {advice}{self._kept}."
        )

    def _average(self, parameters: Iterable[Tensor]) -> None:
        """Average gradients over the devices, in one message for each type of number."""
        parameters = list(parameters)
        here = torch.tensor([float(item.grad is not None) for item in parameters], device=self.device)
        anywhere: Any = self._fabric.all_reduce(here, reduce_op="sum")
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for parameter, count in zip(parameters, anywhere.tolist(), strict=True):
            if not count:  # untouched by this step: an optimiser must not let it decay either
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            by_type.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in by_type.values():
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            flat = self._fabric.all_reduce(flat, reduce_op="mean")  # type: ignore[assignment]
            start = 0
            for gradient in gradients:
                gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
                start += gradient.numel()
