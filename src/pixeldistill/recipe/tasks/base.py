"""Rules for recipes of a task, and defaults of missing settings. No torch: the networks are in `pixeldistill.tasks`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from pixeldistill.recipe.data import Augmentation
from pixeldistill.recipe.losses import EVERY_TASK, ISRDTerm, Loss, SupervisedTerm, Term, losses, published_losses
from pixeldistill.recipe.method import Method
from pixeldistill.recipe.network import Assistant, Network, Student

if TYPE_CHECKING:
    from pixeldistill.recipe.recipe import Recipe

NetworkT = TypeVar("NetworkT", bound=Network)


class Starting(NamedTuple):
    """Settings of a first recipe: image sizes in pixels, batch size, epochs, settings before and after the networks.

    image_size: the teacher's, if the images are as large. share: the teacher's image size divided by the student's.
    epochs: the teacher's and the student's. image_cache: whether large training images are kept decoded.
    """

    image_size: int
    share: int
    batch_size: int
    epochs: tuple[int, int]
    image_cache: bool = False
    before: Mapping[str, Any] = {}
    after: Mapping[str, Any] = {}


SUPERVISED: tuple[Term, ...] = (SupervisedTerm(kind="supervised"),)


class TaskRules(ABC):
    """Rules that all recipes of one task share.

    Class variables:

    - `name`: value of a recipe's `task`.
    - `labels`: kind of labels that its data must have, see `recipe.formats.Format`.
    - `headline`: name of the main metric in a run's records.
    - `crops`: whether its test images are centre crops. Its metrics have the loss then, as `nll`, to choose the crop by.
    - `averages_teachers`: whether a student may learn from the mean of several teachers.
    - `starting`: settings of a first recipe.
    - `published_terms`: terms of the last stage of the paper's methods, which a comparison calls `ts` and `tas`.
    - `assistant_terms`: default terms of an assistant.
    - `plain_terms`: terms of plain prediction distillation.
    - `chain_term`: term that `tas` adds to the terms of a comparison's recipe.
    """

    name: ClassVar[str]
    labels: ClassVar[str]
    headline: ClassVar[str]
    crops: ClassVar[bool] = True
    averages_teachers: ClassVar[bool] = False
    starting: ClassVar[Starting]
    published_terms: ClassVar[Mapping[str, tuple[Term, ...]]]
    assistant_terms: ClassVar[tuple[Term, ...]]
    plain_terms: ClassVar[tuple[Term, ...]]
    chain_term: ClassVar[Term]

    def with_defaults(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a recipe's content with the task's own defaults."""
        return content

    @abstractmethod
    def check(self, recipe: "Recipe") -> None:
        """Raise ValueError if a recipe has settings that its task does not have."""

    def check_augmentation(self, augmentation: Augmentation) -> None:  # noqa: B027
        """Raise ValueError if views cannot be made so for this task."""

    def check_network(self, network: Network) -> None:  # noqa: B027
        """Raise ValueError if a stage's network cannot be built for this task."""

    def check_method(self, method: Method) -> None:  # noqa: B027
        """Raise ValueError if a comparison's method is not for this task."""

    def complete(self, network: NetworkT, recipe: "Recipe") -> NetworkT:
        """Return a network with the recipe's settings for all networks."""
        return network.of_task(self.name)

    def may_be_enlarged(self, network: Network) -> bool:
        """Return whether a network can read its image enlarged, as its `enlarge` says."""
        return True

    def assistant_of(self, network: Network, said: Assistant, student: Student, recipe: "Recipe") -> Network:
        """Return a student's assistant with the task's additions."""
        return network

    def default_terms(self, chain: str) -> tuple[Term, ...]:
        """Return the terms of a chain's last stage if a recipe names none: the paper's without ISRD, which gained nothing."""
        return tuple(term for term in self.published_terms[chain] if not isinstance(term, ISRDTerm))

    def terms_of_assistant(self, assistant: Network, student: Student, recipe: "Recipe") -> tuple[Term, ...]:
        """Return an assistant's terms if the recipe names none."""
        return self.assistant_terms

    def title(self, network: Network) -> str:
        """Return the name of a network in tables."""
        return f"{network.network} at {network.image_size}"

    @property
    def names(self) -> tuple[str, ...]:
        """Names under which losses list the task: its own, those of tasks that it extends, and that of every task."""
        return (*(vars(parent)["name"] for parent in type(self).__mro__ if "name" in vars(parent)), EVERY_TASK)

    @property
    def losses(self) -> Mapping[str, type[Loss]]:
        """Losses of the task, by kind."""
        return {kind: loss for kind, loss in losses().items() if not set(self.names).isdisjoint(loss.computed_by)}

    def trains_prediction(self, terms: Sequence[Term]) -> bool:
        """Return whether any of the terms trains the network's prediction."""
        return any(self.is_trained_by(term) and term.weight > 0 for term in terms)

    def is_trained_by(self, loss: Loss | type[Loss]) -> bool:
        """Return whether a loss trains the prediction of the task's networks."""
        return not set(self.names).isdisjoint(loss.trains_prediction)

    def methods(self, epochs: int) -> dict[str, Method]:
        """Return the methods that a comparison knows by name, for a schedule of a given number of epochs."""
        plain = self.plain_terms
        single = {kind: Method(terms=(*SUPERVISED, loss)) for kind, loss in self._published(epochs).items()}
        longer = {"dkd-equal-compute": Method(terms=single["dkd"].terms, match_compute_of="tas")} if "dkd" in single else {}
        return {
            "supervised": Method(chain="supervised"),
            "pkd": Method(terms=plain),
            **single,
            "ts": Method(),
            "tas": Method(chain="tas"),
            "tas-warm-start": Method(chain="tas", warm_start=True),
            "supervised-warm-start": Method(chain="supervised", warm_start=True),
            "pkd-warm-start": Method(terms=plain, warm_start=True),
            "supervised-equal-compute": Method(chain="supervised", match_compute_of="tas"),
            "pkd-equal-compute": Method(terms=plain, match_compute_of="tas"),
            **longer,
            "ts-equal-compute": Method(match_compute_of="tas"),
            "enlarged": Method(chain="supervised", enlarge=True),
        }

    def single_losses(self) -> tuple[str, ...]:
        """Return the names of the methods that use one published loss in one stage."""
        return ("pkd", *self._published(1))

    def _published(self, epochs: int) -> dict[str, Loss]:
        return {kind: loss for name in self.names for kind, loss in published_losses(name, epochs).items()}


def completed(content: Mapping[str, Any], key: str, complete: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> dict[str, Any]:
    """Return a recipe's content with every `key` in it completed: its own, its networks', its stages', its methods'.

    What is no mapping is left for the checks to name.
    """

    def one(part: Any) -> Any:  # noqa: ANN401
        said = part.get(key) if isinstance(part, dict) else None
        return {**part, key: complete(said)} if isinstance(said, dict) else part

    parts = {name: one(content[name]) for name in ("teacher", "assistant") if name in content}
    if isinstance(stages := content.get("stages"), list):
        parts["stages"] = [one(entry) for entry in stages]
    if isinstance(methods := content.get("compare"), dict):
        parts["compare"] = {name: one(method) for name, method in methods.items()}
    return one({**content, **parts})  # type: ignore[no-any-return]
