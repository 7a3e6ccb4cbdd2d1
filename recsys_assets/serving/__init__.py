"""Bundle in, answers out: signing, the model server, the feedback collector, and the asset that deploys them."""
