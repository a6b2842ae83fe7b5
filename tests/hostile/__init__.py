"""Inputs that break tools, made by code, and what becomes of each."""
