"""What a study trains: from a section and its data to folders that stand by themselves."""
