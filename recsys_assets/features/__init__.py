"""Room `features`: counts over trailing windows, Feast's views of them, and the online store."""
