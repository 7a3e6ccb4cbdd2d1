"""Replayed users: people of the data set who come back, look at what they are shown and click what they went on to use.

Here: drawing visitors and sending their requests. Not here: any decision about a release.
"""
