"""Quick dataclasses against those of the standard library: nobody can tell the two apart."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.values import dataclass


@dataclass(frozen=True, slots=True)
class Quick:
    number: int
    text: str = "text"
    items: tuple[int, ...] = ()
    hidden: str = field(default="", repr=False, compare=False)
    made: list[int] = field(default_factory=list, hash=False, compare=False)

    @property
    def double(self) -> int:
        return self.number * 2


@dataclasses.dataclass(frozen=True, slots=True)
class Usual:
    number: int
    text: str = "text"
    items: tuple[int, ...] = ()
    hidden: str = field(default="", repr=False, compare=False)
    made: list[int] = field(default_factory=list, hash=False, compare=False)


@dataclass(frozen=True, slots=True)
class Empty:
    pass


@dataclass(frozen=True, slots=True)
class One:
    value: object


@dataclass(frozen=True, slots=True)
class Checked:
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("negative")


@dataclass(frozen=True, slots=True)
class Own:
    number: int

    def __repr__(self) -> str:
        return "its own"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 7


@dataclass(slots=True)
class Changing:
    number: int = 0


VALUES = st.tuples(st.integers(), st.text(), st.lists(st.integers()).map(tuple), st.text())


@given(VALUES, VALUES)
def test_they_are_equal_and_hash_and_show_like_the_standard_librarys(
    one: tuple[Any, ...], other: tuple[Any, ...]
) -> None:
    assert (Quick(*one) == Quick(*other)) == (Usual(*one) == Usual(*other))
    assert hash(Quick(*one)) == hash(Usual(*one))
    assert repr(Quick(*one)).replace("Quick", "Usual") == repr(Usual(*one))
    assert dataclasses.asdict(Quick(*one)) == dataclasses.asdict(Usual(*one))


def test_nothing_changes_one_once_it_is_made() -> None:
    made = Quick(1)
    for change in (lambda: setattr(made, "number", 2), lambda: delattr(made, "number")):
        with pytest.raises(FrozenInstanceError):
            change()
    with pytest.raises(AttributeError):
        setattr(made, "unknown", 1)  # noqa: B010 - a type checker would refuse the other way
    assert (made.number, made.double) == (1, 2)


def test_what_reads_dataclasses_reads_them() -> None:
    made = Quick(1, items=(2, 3))
    assert dataclasses.replace(made, text="other") == Quick(1, "other", (2, 3))
    assert dataclasses.is_dataclass(Quick)
    assert [item.name for item in dataclasses.fields(made)] == ["number", "text", "items", "hidden", "made"]
    assert copy.deepcopy(made) == copy.copy(made) == pickle.loads(pickle.dumps(made)) == made
    match made:
        case Quick(number, text):
            assert (number, text) == (1, "text")
    assert not hasattr(made, "__dict__")
    assert Quick(1).made is not Quick(1).made


def test_classes_with_no_field_and_with_one_are_told_apart_by_their_values() -> None:
    assert Empty() == Empty()
    assert hash(Empty()) == hash(Empty())
    assert One(1) != One(2)
    assert One(()) != Empty()
    assert len({One("a"), One("a"), One(("a",))}) == 2


def test_what_a_class_has_of_its_own_stays() -> None:
    assert (repr(Own(1)), Own(1) == 5, hash(Own(1))) == ("its own", True, 7)
    with pytest.raises(ValueError, match="negative"):
        Checked(-1)


def test_other_dataclasses_are_the_standard_librarys() -> None:
    changing = Changing()
    changing.number = 3
    assert changing == Changing(3)
