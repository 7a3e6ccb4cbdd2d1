#!/usr/bin/env bash
# docs/kubernetes.md as one script, on kind. For a machine with docker, kind, kubectl, helm 3.17 or newer, and openssl.
# NOT RUN by our tests: there is no Docker on the machines that run them. Run it again after a failure; each step may be repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in docker kind kubectl helm openssl; do
  command -v "$tool" >/dev/null || { echo "kind-up: $tool is not on the PATH"; exit 1; }
done
version() { sed -n '1s/^# chart: [^ ]* //p' "helm_values/$1.yaml"; }
secret() { kubectl -n recsys create secret generic "$@" --dry-run=client -o yaml | kubectl apply -f -; }
image=localhost/recsys-assets:0.1.0

echo "== cluster"
mkdir -p /tmp/recsys-kind && chmod 0777 /tmp/recsys-kind
kind get clusters | grep -qx recsys || kind create cluster --config kind/cluster.yaml --wait 3m
kubectl config use-context kind-recsys

echo "== image"
docker build --tag "$image" .
kind load docker-image "$image" --name recsys

echo "== cert-manager, Istio, KServe"
helm repo add istio https://istio-release.storage.googleapis.com/charts --force-update
helm upgrade --install cert-manager oci://quay.io/jetstack/charts/cert-manager --namespace cert-manager --create-namespace \
  --set crds.enabled=true --wait
helm upgrade --install istio-base istio/base --version "$(version istio-base)" -n istio-system --create-namespace \
  --values helm_values/istio-base.yaml --wait
helm upgrade --install istio-cni istio/cni --version "$(version istio-cni)" -n istio-system --values helm_values/istio-cni.yaml --wait
helm upgrade --install istiod istio/istiod --version "$(version istiod)" -n istio-system --values helm_values/istiod.yaml \
  --set autoscaleEnabled=false --set replicaCount=1 --wait
helm template kserve-crd oci://ghcr.io/kserve/charts/kserve-crd --version "$(version kserve-crd)" | kubectl apply --server-side -f -
helm upgrade --install kserve oci://ghcr.io/kserve/charts/kserve-resources --version "$(version kserve)" -n kserve \
  --create-namespace --values helm_values/kserve.yaml --wait

echo "== stores"
kubectl apply -f kind/stores.yaml
kubectl -n stores rollout status deployment/postgres deployment/valkey deployment/s3 --timeout=5m
for database in dagster ledger feast mlflow; do
  kubectl -n stores exec deployment/postgres -- psql -U postgres -c "create database $database" || true
done
kubectl -n stores exec deployment/s3 -- sh -c 'echo "s3.bucket.create -name recsys" | weed shell' || true

echo "== namespace, secrets, keys"
kubectl create namespace recsys --dry-run=client -o yaml | kubectl apply -f -
kubectl label namespace recsys --overwrite istio-injection=enabled pod-security.kubernetes.io/enforce=restricted
kubectl apply -f kind/volume.yaml
url=postgresql://postgres:recsys@postgres.stores.svc.cluster.local:5432
secret recsys-dagster-postgres --from-literal=postgresql-password=recsys
secret recsys-ledger --from-literal=LEDGER_URL="$url/ledger"
secret recsys-feast --from-literal=FEAST_REGISTRY_URL="$url/feast"
secret recsys-online --from-literal=ONLINE_PASSWORD=recsys
secret recsys-mlflow --from-literal=MLFLOW_BACKEND_STORE_URI="${url/postgresql/postgresql+psycopg2}/mlflow" \
  --from-literal=MLFLOW_S3_ENDPOINT_URL=http://s3.stores.svc.cluster.local:8333
secret recsys-s3 --from-literal=AWS_ACCESS_KEY_ID=recsys --from-literal=AWS_SECRET_ACCESS_KEY=recsys-secret
kind/keys.sh kind/keys "$image"
secret recsys-signing-keys --from-file=kind/keys
if ! kubectl -n recsys get secret recsys-collector-tokens >/dev/null 2>&1; then
  docker run --rm --env RECSYS_HOME=/tmp/home "$image" sh -c \
    'recsys-assets collector-token add kind >&2 && cat /tmp/home/keys/collector_tokens.json' >kind/keys.tokens.json
  secret recsys-collector-tokens --from-file=collector_tokens.json=kind/keys.tokens.json
  rm kind/keys.tokens.json
fi

echo "== recsys-assets, Dagster"
helm upgrade --install recsys charts/recsys-assets -n recsys --values helm_values/recsys-assets.yaml --values kind/values.yaml \
  --set-file 'publicKeys.bundle_signing\.pub=kind/keys/bundle_signing.pub' \
  --set-file 'publicKeys.release_signing\.pub=kind/keys/release_signing.pub' --wait --timeout 10m
helm repo add dagster https://dagster-io.github.io/helm --force-update
helm upgrade --install dagster dagster/dagster --version "$(version dagster)" -n recsys --values helm_values/dagster.yaml \
  --values kind/dagster.yaml --wait --timeout 10m
helm upgrade --install recsys-code dagster/dagster-user-deployments --version "$(version dagster-user-deployments)" -n recsys \
  --values helm_values/dagster-user-deployments.yaml --values kind/dagster-user-deployments.yaml --wait --timeout 10m
echo "== MovieLens-100K, day by day, into the inbox"
kubectl -n recsys exec deployment/recsys-code-dagster-user-deployments-recsys-code -- python -c '
from datetime import date, timedelta
from pathlib import Path
from recsys_assets.interactions.movielens import land_days, land_items_users
home, first = Path("/var/lib/recsys"), date(1997, 9, 20)
land_items_users(home)
land_days(home, [first + timedelta(days=day) for day in range(200)])
'
echo "ready: kubectl -n recsys port-forward service/dagster-webserver 3000:3000, then http://127.0.0.1:3000"
