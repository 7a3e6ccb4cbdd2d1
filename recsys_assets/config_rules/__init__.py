"""What two settings may not say together. Here: nothing; the rules are in the modules, the list of them in book.py."""
