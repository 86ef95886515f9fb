"""When garbage is collected, so that it is not felt at the keyboard."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from textual._styles_cache import StylesCache
from textual.signal import Signal

if TYPE_CHECKING:
    from textual.app import App


def freeze_started_objects() -> None:
    """Have collections skip all objects that exist now, most of which live as long as the program or a pane.

    A collection that looks through them again and again would hold up the keyboard for tens of milliseconds.
    """
    gc.freeze()
    gc.enable()


def collect_closed_panes() -> None:
    """Free the widgets of panes that were removed. They refer to each other, and may have been frozen.

    Takes tens of milliseconds: it looks through all objects once.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def forget_removed_widgets(app: App[Any]) -> None:
    """Drop what Textual 8.2 keeps of removed widgets: watchers, subscriptions, cached answers, drawn lines.

    Textual drops a watcher only when its attribute changes, which the theme of the app may never do. It never
    drops a subscription whose callback refers to its widget. It drops a cached answer, and what was drawn of
    a widget (0.7 MB for a pane), only for a thousand others.
    """
    StylesCache.get_inner_outer.cache_clear()
    for owner in (app, *app.screen_stack):
        for watchers in getattr(owner, "__watchers", {}).values():
            watchers[:] = [(widget, callback) for widget, callback in watchers if widget.is_attached]
        for signal in vars(owner).values():
            if isinstance(signal, Signal):
                for widget in [widget for widget in signal._subscriptions if not widget.is_attached]:
                    signal.unsubscribe(widget)
        owner._query_one_cache.clear()
        # To ask has Textual find them anew.
        _ = owner.displayed_children
