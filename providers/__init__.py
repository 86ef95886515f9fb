"""Where models are reached. Of core it knows `base`, `cancel` and `model` alone."""
