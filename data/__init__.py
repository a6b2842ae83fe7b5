"""Where samples come from: generators, bundled photographs, readers of real data sets."""
