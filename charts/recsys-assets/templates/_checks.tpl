{{/* What a schema of the values cannot say. Everything that is wrong is told before anything is rendered. */}}
{{- define "recsys.check" -}}
{{- if ne (.Values.settings.platform | default "local") "kubernetes" }}
{{- fail "settings.platform must be kubernetes: every process of this chart reads it" }}
{{- end }}
{{- $kubernetes := include "recsys.kubernetes" . | fromJson }}
{{- with $kubernetes.namespace }}
{{- if ne . $.Release.Namespace }}
{{- fail (printf "settings.kubernetes.namespace is %s, but the chart is installed into %s" . $.Release.Namespace) }}
{{- end }}
{{- end }}
{{- with $kubernetes.image }}
{{- if ne . (include "recsys.image" $) }}
{{- fail (printf "settings.kubernetes.image is %s, but image says %s: leave one of them out" . (include "recsys.image" $)) }}
{{- end }}
{{- end }}
{{- range $key, $ours := dict "name" "recsys-gateway" "service" "recsys-gateway" "namespace" .Release.Namespace }}
{{- $theirs := get ($kubernetes.gateway | default dict) $key | default $ours }}
{{- if ne $theirs $ours }}
{{- fail (printf "settings.kubernetes.gateway.%s is %s, but this chart's gateway has %s" $key $theirs $ours) }}
{{- end }}
{{- end }}
{{- if (($kubernetes.gateway | default dict).labels) }}
{{- fail "settings.kubernetes.gateway.labels: this chart's gateway has its own, leave them out" }}
{{- end }}
{{- $port := ($kubernetes.gateway | default dict).port | default 80 | int }}
{{- if ne $port (int .Values.gateway.service.port) }}
{{- fail (printf "settings.kubernetes.gateway.port is %d, but gateway.service.port is %d" $port (int .Values.gateway.service.port)) }}
{{- end }}
{{- $claim := $kubernetes.home_claim | default "recsys-home" }}
{{- if ne $claim (include "recsys.claim" .) }}
{{- fail (printf "settings.kubernetes.home_claim is %s, but volume says %s" $claim (include "recsys.claim" .)) }}
{{- end }}
{{- if and .Values.mesh.enabled (eq .Values.gateway.mode "plain") }}
{{- fail "mesh.enabled needs gateway.mode injected: a plain Envoy has no certificate to show to the servers" }}
{{- end }}
{{- $plan := ((.Values.settings.rollout | default dict).plan) | default dict }}
{{- $needed := addf ($plan.deadline_seconds | default 0) ($plan.bake_seconds | default 0) ($plan.history_seconds | default 0) }}
{{- $kept := mulf .Values.gateway.logs.keepDays 86400 }}
{{- if lt $kept $needed }}
{{- fail (printf "gateway.logs.keepDays %v keeps %.0f s, but settings.rollout.plan looks back %.0f s (deadline_seconds, bake_seconds and history_seconds): keep more days" .Values.gateway.logs.keepDays $kept $needed) }}
{{- end }}
{{- if .Values.checkCapabilities }}
{{- include "recsys.requires" (dict "root" . "api" "networking.istio.io/v1" "why" "the gateway is driven by Istio: install the charts istio/base and istio/istiod first") }}
{{- include "recsys.requires" (dict "root" . "api" "serving.kserve.io/v1beta1" "why" "model servers are InferenceServices: install the charts kserve-crd and kserve-resources first") }}
{{- if eq (include "recsys.route" .) "gateway-api" }}
{{- include "recsys.requires" (dict "root" . "api" "gateway.networking.k8s.io/v1" "why" "settings.kubernetes.route gateway-api needs the CRDs of the Gateway API") }}
{{- end }}
{{- if .Values.monitoring.enabled }}
{{- include "recsys.requires" (dict "root" . "api" "monitoring.coreos.com/v1" "why" "monitoring.enabled needs the Prometheus operator") }}
{{- end }}
{{- end }}
{{- end }}

{{- define "recsys.requires" -}}
{{- if not (.root.Capabilities.APIVersions.Has .api) }}
{{- fail (printf "the cluster does not know %s: %s" .api .why) }}
{{- end }}
{{- end }}
