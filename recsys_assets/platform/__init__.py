"""Where manifests become real: one interface, a local implementation below `local`."""
