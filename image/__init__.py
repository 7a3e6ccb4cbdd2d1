"""The container image: its base, its wheels, its build. Nothing of it is installed or imported by the project."""
