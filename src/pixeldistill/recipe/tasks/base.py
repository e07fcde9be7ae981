"""What recipes of a task may say, and what they mean where they are silent. No torch; `pixeldistill.tasks` has the networks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from pixeldistill.recipe.losses import Loss, SupervisedTerm, Term, losses, published_losses
from pixeldistill.recipe.method import Method
from pixeldistill.recipe.network import Assistant, Network, Student

if TYPE_CHECKING:
    from pixeldistill.recipe.recipe import Recipe

NetworkT = TypeVar("NetworkT", bound=Network)


class Starting(NamedTuple):
    """What suits a first recipe: sides in pixels, a batch, more of the schedule, and settings before and after the networks.

    image_size: the teacher's, if the images are as large. share: the student's is that part of it, 4 for a quarter.
    """

    image_size: int
    share: int
    batch_size: int
    schedule: Mapping[str, Any] = {}
    before: Mapping[str, Any] = {}
    after: Mapping[str, Any] = {}


SUPERVISED: tuple[Term, ...] = (SupervisedTerm(kind="supervised"),)


class TaskRules(ABC):
    """What recipes of one task have in common.

    Class variables:

    - `name`: as a recipe's `task` says it.
    - `labels`: what its data must have, see `recipe.formats.Format`.
    - `headline`: the figure that decides, as a run's records name it.
    - `unused_camera`: settings of a camera that make no difference.
    - `starting`: for a first recipe.
    - `default_terms`: of the last stage of each method, where the recipe names none.
    - `assistant_terms`: of an assistant, where the recipe names none.
    - `plain_terms`: plain distillation of the prediction.
    - `chain_term`: what `tas` adds to the terms of a comparison's recipe.
    """

    name: ClassVar[str]
    labels: ClassVar[str]
    headline: ClassVar[str]
    unused_camera: ClassVar[tuple[str, ...]] = ()
    starting: ClassVar[Starting]
    default_terms: ClassVar[Mapping[str, tuple[Term, ...]]]
    assistant_terms: ClassVar[tuple[Term, ...]]
    plain_terms: ClassVar[tuple[Term, ...]]
    chain_term: ClassVar[Term]

    def with_defaults(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a recipe's content with the task's own defaults."""
        return content

    @abstractmethod
    def check(self, recipe: "Recipe") -> None:
        """Raise ValueError if a recipe says what its task does not have."""

    def check_network(self, network: Network) -> None:  # noqa: B027
        """Raise ValueError if a stage's network cannot be built for this task."""

    def check_method(self, method: Method) -> None:  # noqa: B027
        """Raise ValueError if a comparison's method is not for this task."""

    def complete(self, network: NetworkT, recipe: "Recipe") -> NetworkT:
        """Return a network with what the recipe says of all networks."""
        return network

    def may_be_enlarged(self, network: Network) -> bool:
        """Return whether a network can be fed its image enlarged, as its `enlarge` says."""
        return True

    def assistant_of(self, network: Network, said: Assistant, student: Student, recipe: "Recipe") -> Network:
        """Return a student's assistant with what the task adds to it."""
        return network

    def terms_of_assistant(self, assistant: Network, student: Student, recipe: "Recipe") -> tuple[Term, ...]:
        """Return an assistant's terms, where the recipe names none."""
        return self.assistant_terms

    def title(self, network: Network) -> str:
        """Return how a table names a network."""
        return f"{network.network} at {network.image_size}"

    @property
    def losses(self) -> Mapping[str, type[Loss]]:
        """The losses that the task has, by kind."""
        return {kind: loss for kind, loss in losses().items() if self.name in loss.computed_by}

    def trains_prediction(self, terms: Sequence[Term]) -> bool:
        """Return whether some of the terms teach the network to predict."""
        return any(self.name in term.trains_prediction and term.weight > 0 for term in terms)

    def methods(self, epochs: int) -> dict[str, Method]:
        """Return the methods that a comparison knows by name, for a schedule of so many epochs."""
        plain = self.plain_terms
        single = {kind: Method(terms=(*SUPERVISED, loss)) for kind, loss in published_losses(self.name, epochs).items()}
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
        """Return the names of the methods that are one published loss in one stage."""
        return ("pkd", *published_losses(self.name, 1))
