"""The story that `recsys-assets demo` plays on MovieLens-100K. Here: scenes and how they are told, no product logic."""
