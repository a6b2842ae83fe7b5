"""Answers without a network."""
