"""The benchmark: run, then score, then draw. Results are JSON; tables and plots come from them."""
