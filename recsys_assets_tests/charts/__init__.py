"""The charts: our own and the values of others, as far as Python alone can judge them."""
