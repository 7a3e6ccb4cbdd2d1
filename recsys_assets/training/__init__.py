"""From pinned tables to a registered model version. Not here: judging it against the champion, or serving it."""
