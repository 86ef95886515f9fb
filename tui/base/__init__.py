"""Used by every part of the screen: rows, key hints, numbers, and text that is wrapped, fitted and
printable."""
