// The container that holds a pod's namespaces open. Not here: anything that a pod does.
module recsys-assets.invalid/cluster/pause

go 1.26
