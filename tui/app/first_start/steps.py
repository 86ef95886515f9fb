"""The first start as steps, with the effect of each key and the texts of each step.

Pure functions. Only `TypedLine` holds a typed key, until it is taken; no step, row or representation contains
it.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, assert_never

from rich.cells import cell_len

from core.base.values import Value
from core.model.setup import (
    KEY_LIMIT,
    EnvironmentKey,
    Found,
    KeyedProvider,
    KeyHome,
    LocalServer,
    ModelChosen,
    StoredKey,
)
from tui.base.fit import without_beginning
from tui.base.row import inline

if TYPE_CHECKING:
    from collections.abc import Mapping

FILTER_LIMIT = 60
MASK = "•"
CARET = "▏"


class Way(Enum):
    """A choice that is available even if nothing was found."""

    ENTER_KEY = auto()
    DEMO = auto()


class Remedy(Enum):
    """What can be done after a test that did not pass."""

    AGAIN = auto()
    ANYWAY = auto()
    OTHER_KEY = auto()
    BACK = auto()


class ModelOf(NamedTuple):
    """One of the models of a server."""

    server: LocalServer
    model: str


Item: TypeAlias = Found | Way | KeyedProvider | ModelOf | Remedy | KeyHome
"""What a row represents."""


class Attempt(NamedTuple):
    """A model to be tested and used; `title` names its provider or server. `entered` is the provider whose
    key was typed for it, None for a key that was found."""

    chosen: ModelChosen
    title: str
    entered: KeyedProvider | None = None


class Choosing(Value):
    """The first step."""


class PickingProvider(Value):
    """The step that asks which provider's key to enter."""


class TypingKey(Value):
    provider: KeyedProvider


class PickingModel(Value):
    server: LocalServer


class Trying(Value):
    attempt: Attempt
    stopping: bool = False


class Unproven(Value):
    """The test has failed or was stopped; `why` gives the reason."""

    attempt: Attempt
    why: str


class Placing(Value):
    """No keyring takes the key, with the reason in `why`: asks where to save it."""

    attempt: Attempt
    why: str


class Keeping(Value):
    """The choice is being saved."""


class Over(Value):
    """The first start is over and the program goes on."""


Step: TypeAlias = (
    Choosing | PickingProvider | TypingKey | PickingModel | Trying | Unproven | Placing | Keeping | Over
)


class StartAct(Enum):
    """An action of the user on this screen."""

    TAKE = auto()
    BACK = auto()
    ERASE = auto()
    CLEAR = auto()
    LOOK_AGAIN = auto()
    INTERRUPT = auto()
    QUIT = auto()


KEYS: Mapping[str, StartAct] = {
    "enter": StartAct.TAKE,
    "escape": StartAct.BACK,
    "ctrl+c": StartAct.INTERRUPT,
    "backspace": StartAct.ERASE,
    "ctrl+u": StartAct.CLEAR,
    "ctrl+r": StartAct.LOOK_AGAIN,
}

MOVES: Mapping[str, str] = {"tab": "down", "shift+tab": "up", "home": "ctrl+home", "end": "ctrl+end"}
"""Keys that move the selection as other keys do in every list."""


def typing_limit(step: Step) -> int:
    """How many characters can be typed in a step."""
    match step:
        case TypingKey():
            return KEY_LIMIT
        case PickingProvider() | PickingModel():
            return FILTER_LIMIT
        case _:
            return 0


class TypedLine:
    """The text being typed: search words or a key. Only the length of a key is shown."""

    def __init__(self) -> None:
        self._text = ""

    def __len__(self) -> int:
        return len(self._text)

    def insert(self, text: str, limit: int) -> None:
        """Append text; the part beyond `limit` is dropped except one character, which shows the excess."""
        self._text = (self._text + text)[: limit + 1]

    def erase(self) -> None:
        self._text = self._text[:-1]

    def clear(self) -> None:
        self._text = ""

    def take(self) -> str:
        """Return the text and forget it."""
        text, self._text = self._text, ""
        return text

    @property
    def query(self) -> str:
        """The text as search words; never used for a key."""
        return self._text

    def shown(self, width: int) -> str:
        return without_beginning(inline(self._text), width - 1) + CARET

    def masked(self, width: int) -> str:
        """A dot for each character, and the number of characters in words."""
        count = len(self._text)
        words = f" {count} character{'s' * (count != 1)}"
        dots = max(0, min(count, width - cell_len(words) - 1))
        return MASK * dots + CARET + (words if count else "")


class Heading(NamedTuple):
    """The heading of a step. `label` stands before the typed text, `hint` in its place if it is empty."""

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
