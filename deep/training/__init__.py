"""Models, losses, recipes, the loop and the export: the only place that imports torch."""
