"""Items and users: their contract, their tables, and when they are loaded. Here: nothing. Not here: reading files."""
