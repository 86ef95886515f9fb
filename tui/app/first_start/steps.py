"""The first start as steps: where a person can be, what each key does there, and what is said there.

Pure. What is typed as a key is held by `TypedLine` alone, until it is taken; it is in no step, no row and no
representation.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, assert_never

from rich.cells import cell_len

from core.setup import (
    EnvironmentKey,
    Found,
    KeyedProvider,
    KeyHome,
    LocalServer,
    ModelChosen,
    StoredKey,
)
from core.values import dataclass
from tui.list_rows import inline, without_beginning

if TYPE_CHECKING:
    from collections.abc import Mapping

FILTER_LIMIT = 60
MASK = "•"
CARET = "▏"


class Way(Enum):
    """What can be chosen though nothing was found."""

    ENTER_KEY = auto()
    DEMO = auto()


class Remedy(Enum):
    """What can be done about a test that has not passed."""

    AGAIN = auto()
    ANYWAY = auto()
    OTHER_KEY = auto()
    BACK = auto()


class ModelOf(NamedTuple):
    """One of the models of a server."""

    server: LocalServer
    model: str


Item: TypeAlias = Found | Way | KeyedProvider | ModelOf | Remedy | KeyHome
"""What a row stands for."""


class Attempt(NamedTuple):
    """A model on its way to be used, under the `title` of who has it. `entered` is the provider whose key was
    typed in for it, None for one that was found."""

    chosen: ModelChosen
    title: str
    entered: KeyedProvider | None = None


@dataclass(frozen=True, slots=True)
class Choosing:
    """The first step."""


@dataclass(frozen=True, slots=True)
class PickingProvider:
    """Whose key shall be entered?"""


@dataclass(frozen=True, slots=True)
class TypingKey:
    provider: KeyedProvider


@dataclass(frozen=True, slots=True)
class PickingModel:
    server: LocalServer


@dataclass(frozen=True, slots=True)
class Trying:
    attempt: Attempt
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class Unproven:
    """The test has failed or was stopped, and `why`."""

    attempt: Attempt
    why: str


@dataclass(frozen=True, slots=True)
class Placing:
    """No keyring takes the key, and `why`: where shall it be kept?"""

    attempt: Attempt
    why: str


@dataclass(frozen=True, slots=True)
class Keeping:
    """What was chosen is being written down."""


@dataclass(frozen=True, slots=True)
class Over:
    """Somebody else goes on from here."""


Step: TypeAlias = (
    Choosing | PickingProvider | TypingKey | PickingModel | Trying | Unproven | Placing | Keeping | Over
)


class StartAct(Enum):
    """What a person can do on the screen."""

    TAKE = auto()
    BACK = auto()
    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    FIRST = auto()
    LAST = auto()
    ERASE = auto()
    CLEAR = auto()
    LOOK_AGAIN = auto()
    INTERRUPT = auto()
    QUIT = auto()


KEYS: Mapping[str, StartAct] = {
    "enter": StartAct.TAKE,
    "escape": StartAct.BACK,
    "ctrl+c": StartAct.INTERRUPT,
    "up": StartAct.UP,
    "shift+tab": StartAct.UP,
    "down": StartAct.DOWN,
    "tab": StartAct.DOWN,
    "pageup": StartAct.PAGE_UP,
    "pagedown": StartAct.PAGE_DOWN,
    "home": StartAct.FIRST,
    "ctrl+home": StartAct.FIRST,
    "end": StartAct.LAST,
    "ctrl+end": StartAct.LAST,
    "backspace": StartAct.ERASE,
    "ctrl+u": StartAct.CLEAR,
    "ctrl+r": StartAct.LOOK_AGAIN,
}


class TypedLine:
    """What is being typed: words to find a row by, or a key. A key is shown as its length alone."""

    def __init__(self) -> None:
        self._text = ""

    def __len__(self) -> int:
        return len(self._text)

    def insert(self, text: str, limit: int) -> None:
        """At the end; what is beyond `limit` is dropped, but for one character that shows that it was."""
        self._text = (self._text + text)[: limit + 1]

    def erase(self) -> None:
        self._text = self._text[:-1]

    def clear(self) -> None:
        self._text = ""

    def take(self) -> str:
        """The text, which is here no more."""
        text, self._text = self._text, ""
        return text

    @property
    def query(self) -> str:
        """The text as words to search for; never of a key."""
        return self._text

    def shown(self, width: int) -> str:
        return without_beginning(inline(self._text), width - 1) + CARET

    def masked(self, width: int) -> str:
        """Each character as a dot, and in words how many there are."""
        count = len(self._text)
        words = f" {count} character{'s' * (count != 1)}"
        dots = max(0, min(count, width - cell_len(words) - 1))
        return MASK * dots + CARET + (words if count else "")


class Heading(NamedTuple):
    """What stands at the head of a step. `label` is before what is typed, `hint` in its place."""

    title: str
    sentence: str
    label: str = ""
    hint: str = ""


def heading(step: Step) -> Heading:
    match step:
        case Choosing():
            return Heading(
                "Welcome to Caesura",
                "Which model shall answer? Nothing is sent anywhere before you choose.",
            )
        case PickingProvider():
            return Heading("Enter a key", "Whose key is it?", "Find ", "type a part of the name")
        case TypingKey(provider):
            return Heading(
                f"Enter a key · {provider.title}",
                f"Paste or type it. It is tested with one small request to {provider.title}, then kept in "
                "the keyring.",
                "Key ",
                "it will not be shown",
            )
        case PickingModel(server):
            return Heading(
                f"{inline(server.title)} on this computer",
                f"Which of its models? {server.api_base}",
                "Find ",
                "type a part of the name",
            )
        case Trying(attempt, stopping):
            doing = "Stopping the test of" if stopping else "Testing"
            return Heading(f"{doing} {attempt.title}…", "One small request, which may take some seconds.")
        case Unproven(attempt, why):
            return Heading(f"{attempt.title}: the test has not passed", f"! {inline(why)}")
        case Placing(attempt, why):
            return Heading(f"Where shall the key of {attempt.title} be kept?", f"! {inline(why)}")
        case Keeping() | Over():
            return Heading("One moment…", "What you have chosen is being written down.")
        case _:
            assert_never(step)


def enter_words(step: Step, item: Item | None) -> str:
    """What Enter does in this step with `item` selected."""
    match step:
        case Trying() | Keeping() | Over():
            return "unused"
        case TypingKey():
            return "tests the key"
        case _:
            return "unused" if item is None else _taking(item)


def _taking(item: Item) -> str:
    match item:
        case EnvironmentKey() | StoredKey():
            return "tests it and starts"
        case LocalServer(models=models):
            return "starts" if len(models) == 1 else "shows its models"
        case Way.DEMO | ModelOf() | Remedy.ANYWAY | KeyHome():
            return "starts"
        case Way.ENTER_KEY | KeyedProvider() | Remedy.OTHER_KEY:
            return "asks for the key" if isinstance(item, KeyedProvider) else "goes on"
        case Remedy.AGAIN:
            return "tests again"
        case Remedy.BACK:
            return "goes back"
        case _:
            assert_never(item)


def esc_words(step: Step) -> str:
    """What Esc does in this step."""
    match step:
        case Choosing() | Keeping() | Over():
            return "unused"
        case Trying(stopping=stopping):
            return "forces" if stopping else "stops the test"
        case Unproven(attempt=attempt) | Placing(attempt=attempt):
            return "goes back" if attempt.entered is None else "goes back, forgets the key"
        case PickingProvider() | TypingKey() | PickingModel():
            return "goes back"
        case _:
            assert_never(step)
