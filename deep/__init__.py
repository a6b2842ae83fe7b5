"""Answers with a network in the middle and classical steps either side; torch is imported in `training` alone."""
