"""The platform on Kubernetes: manifests in an API server, made real by KServe and Istio. No code here."""
