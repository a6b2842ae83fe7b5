"""One network a task."""
