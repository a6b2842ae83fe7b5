"""The networks, TASK.onnx, each carrying its own card, and an index of their SHA-256."""
