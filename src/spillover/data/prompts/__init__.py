"""The bundled prompts, as JSONL beside this file. Prompts only: there are no answers here."""
