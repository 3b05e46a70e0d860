"""The containments of a study: what each looks up, trains or edits, in one table."""
