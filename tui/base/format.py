"""Numbers as people read them: times, durations, ages, tokens, prices, paths."""

from __future__ import annotations

import datetime as dt

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
_MONTH_S = 30 * _DAY_S
AGE_CELLS = len("29 days ago")


def format_elapsed(seconds: float) -> str:
    """`3.4s`, ` 12s`, `1m 05s`, `1h 02m`; padded so that the row keeps its width at ten seconds."""
    if seconds < 10:
        return f"{int(seconds * 10) / 10:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s".rjust(4)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m {rest:02}s"
    return f"{minutes // 60}h {minutes % 60:02}m"


def format_tokens(count: int | None, *, decimals: int = 1) -> str:
    """A number of tokens in at most six characters, with at most three digits; "?" if unknown.

    >>> [format_tokens(count) for count in (950, 1_234, 128_000, 1_500_000)]
    ['950', '1.2k', '128k', '1.5M']
    >>> [format_tokens(count, decimals=2) for count in (8_192, 999_900, 1_048_576, None)]
    ['8.19k', '1M', '1.05M', '?']
    """
    if count is None or count < 1_000:
        return "?" if count is None else str(count)
    # The limits are where rounding reaches the next unit or a fourth digit.
    value, unit = (count / 1_000, "k") if count < 999_500 else (count / 1_000_000, "M")
    if value >= 999.5:
        return ">999M"
    most = 2 if value < 9.995 else 1 if value < 99.95 else 0
    text = f"{value:.{min(decimals, most)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + unit


def format_price(per_token: float | None) -> str:
    """The price of a million tokens, from that of one; "?" if unknown.

    >>> [format_price(price) for price in (3e-06, 1.5e-07, 0.0, None)]
    ['$3', '$0.15', '$0', '?']
    """
    if per_token is None:
        return "?"
    million = per_token * 1_000_000
    if million >= 1_000:
        return f"${million:.0f}" if million < 1_000_000 else ">$1M"
    return f"${million:.3g}" if million >= 0.001 or not million else "<$0.001"


def format_age(seconds: float, at: float) -> str:
    """How long ago `at`, Unix time, was; from a month on its date. At most `AGE_CELLS` wide."""
    if seconds < _MINUTE_S:
        return "just now"
    if seconds < _HOUR_S:
        return f"{int(seconds // _MINUTE_S)} min ago"
    if seconds < _DAY_S:
        return f"{int(seconds // _HOUR_S)} h ago"
    if seconds < _MONTH_S:
        days = int(seconds // _DAY_S)
        return f"{days} day{'s' * (days > 1)} ago"
    try:
        return f"{dt.date.fromtimestamp(at):%Y-%m-%d}"
    except (OverflowError, OSError, ValueError):
        # No calendar has this date: a file can hold any number.
        return "long ago"


def format_duration(seconds: float) -> str:
    """A measured time in the unit that suits it.

    >>> format_duration(0.0042), format_duration(0.26), format_duration(3.2), format_duration(65.2)
    ('4.2 ms', '260 ms', '3.2 s', '1 min 05 s')
    """
    ms = seconds * 1000
    # The limits are where rounding reaches the next unit: never `10.0 ms` or `1000 ms`.
    if ms < 9.95:
        return f"{ms:.1f} ms"
    if seconds < 59.95:
        return f"{ms:.0f} ms" if ms < 999.5 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
