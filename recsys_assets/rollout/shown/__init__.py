"""What people are shown of a release. Here: the package. Not here: any decision about a release."""
