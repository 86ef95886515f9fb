"""Keys as terminals send them: plain, and with the kitty keyboard protocol.

What it must never do: share code with what reads the keys, or a mistake there would be proven right here.
"""

from __future__ import annotations

from typing import Final

_MODIFIERS: Final = {"shift": 1, "alt": 2, "ctrl": 4, "super": 8}
_CONTROL: Final = {"escape": 27, "enter": 13, "tab": 9, "backspace": 127}
_ARROW: Final = {"up": "A", "down": "B", "right": "C", "left": "D", "end": "F", "home": "H"}
_LETTER: Final = _ARROW | {"f1": "P", "f2": "Q", "f4": "S"}
_FUNCTION: Final = {"f3": 13, "f5": 15, "f6": 17, "f7": 18, "f8": 19, "f9": 20, "f10": 21, "f12": 24}
_TILDE: Final = _FUNCTION | {"insert": 2, "delete": 3, "pageup": 5, "pagedown": 6}


def encode_key(key: str, *, kitty_flags: int) -> str:
    """The characters for one key: a name, a character, or either with modifiers, as in `ctrl+shift+c`.

    With a non-zero `kitty_flags` the protocol's form, every key as a sequence. Raises KeyError for an unknown
    name.
    """
    *modifiers, name = key.split("+") if len(key) > 1 else [key]
    bits = sum(_MODIFIERS[modifier] for modifier in modifiers)
    suffix = f";{bits + 1}" if bits else ""
    if name in _LETTER:
        plain = f"\x1b[{_LETTER[name]}" if name in _ARROW else f"\x1bO{_LETTER[name]}"
        return f"\x1b[1{suffix}{_LETTER[name]}" if bits else plain
    if name in _TILDE:
        return "\x1bOR" if name == "f3" and not (bits or kitty_flags) else f"\x1b[{_TILDE[name]}{suffix}~"
    if kitty_flags:
        return _kitty(name, bits)
    return _plain(name, modifiers)


def _kitty(name: str, bits: int) -> str:
    if name in _CONTROL:
        return f"\x1b[{_CONTROL[name]};{bits + 1}u" if bits else f"\x1b[{_CONTROL[name]}u"
    if not bits and name.isupper() and len(name.lower()) == 1:
        return f"\x1b[{ord(name.lower())};2;{ord(name)}u"
    if bits & ~1:
        return f"\x1b[{ord(name)};{bits + 1}u"
    return f"\x1b[{ord(name)};{bits + 1 if bits else ''};{ord(name)}u"


def _plain(name: str, modifiers: list[str]) -> str:
    character = chr(_CONTROL[name]) if name in _CONTROL else name
    if len(character) != 1:
        raise KeyError(name)
    if "ctrl" in modifiers and name not in _CONTROL:
        character = chr(ord(character.lower()) & 31)
    if modifiers == ["shift"] and name == "tab":
        return "\x1b[Z"
    return f"\x1b{character}" if "alt" in modifiers else character
