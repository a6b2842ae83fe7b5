"""Samples: generators, bundled photographs, and readers of real data sets."""
