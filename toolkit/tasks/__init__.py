"""The questions: inputs, prediction, metrics, read, write, draw."""
