"""What the list of models reads from: the protocol, and nothing behind it.

Whoever implements it must not block the event loop, and tells what it cannot do as a `CaesuraError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from core.model import Effort, Offer


class ModelShelf(Protocol):
    """The models that can be chosen, and which of them the person has chosen."""

    @property
    def current(self) -> str:
        """The name under which the session asks its model."""
        ...

    @property
    def effort(self) -> Effort | None:
        """The effort that the session asks for; None leaves it to the provider."""
        ...

    @property
    def favourites(self) -> tuple[str, ...]:
        """Names of models, in the order in which they are shown."""
        ...

    async def offers(self) -> tuple[Offer, ...]:
        """All that can be chosen. May raise `CaesuraError`, whose text is shown as it is."""
        ...
