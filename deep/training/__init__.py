"""Models, losses, recipes, the training loop and the export: the only place that imports torch."""
