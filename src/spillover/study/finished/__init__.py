"""What is made of finished folders: two compared, tables, models for use elsewhere."""
