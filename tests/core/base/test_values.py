"""Values: what our code relies on of `msgspec` structs."""

from __future__ import annotations

import copy
import pickle

import msgspec
import pytest

from core.base.values import Value


class Point(Value):
    x: int
    y: int = 0
    names: tuple[str, ...] = ()

    @property
    def double(self) -> int:
        return self.x * 2


class Twin(Value):
    x: int
    y: int = 0
    names: tuple[str, ...] = ()


class Empty(Value):
    pass


class Checked(Value):
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("negative")


def test_values_are_compared_and_hashed_by_class_and_fields() -> None:
    assert Point(1, 2) == Point(1, 2) != Point(1, 3)
    assert Point(1) != Twin(1)
    assert Empty() == Empty()
    assert len({Point(1), Point(1, 0), Point(2), Empty(), Empty()}) == 3


def test_a_value_cannot_be_changed() -> None:
    point = Point(1)
    for change in (
        lambda: setattr(point, "x", 2),
        lambda: delattr(point, "x"),
        lambda: setattr(point, "z", 1),
    ):
        with pytest.raises(AttributeError):
            change()
    assert (point.x, point.double) == (1, 2)
    assert not hasattr(point, "__dict__")


def test_values_are_copied_matched_and_shown_by_their_fields() -> None:
    point = Point(1, names=("a",))
    assert msgspec.structs.replace(point, y=5) == Point(1, 5, ("a",))
    assert copy.deepcopy(point) == copy.copy(point) == pickle.loads(pickle.dumps(point)) == point
    assert repr(point) == "Point(x=1, y=0, names=('a',))"
    match point:
        case Point(x, y):
            assert (x, y) == (1, 0)


def test_a_class_checks_its_values_itself() -> None:
    with pytest.raises(ValueError, match="negative"):
        Checked(-1)
