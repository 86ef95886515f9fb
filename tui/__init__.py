"""The screen. Meets tools and providers in `cli` alone, where the parts are put together."""
