"""The local platform: a SQLite manifest store, a reconciler, supervised model servers and a real Envoy."""
