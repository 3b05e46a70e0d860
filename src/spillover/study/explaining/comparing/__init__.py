"""Organisms of one base compared: what their directions share, and what refusal is to it."""
