"""Run, then score, then draw: results as JSON, and the tables made from them."""
