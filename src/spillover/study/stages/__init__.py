"""What every stage of a study gets and depends on: its context, its inputs, its data."""
