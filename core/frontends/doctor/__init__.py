"""The checks of `caesura doctor` and `/doctor`, each bounded in time."""
