"""What two settings may not say together."""
