{{/*
Names, labels and the parts of a pod that every workload of ours has.

Names are fixed: manifests of a release, settings and policies name them. So one installation has one namespace.
*/}}

{{- define "recsys.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
app.kubernetes.io/name: recsys-assets
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: recsys-assets
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "recsys.selector" -}}
app.kubernetes.io/name: recsys-assets
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- /* What network policies select by. Dagster's own charts put it on their pods by their values. */}}
{{- define "recsys.identityLabel" -}}recsys-assets.dev/identity{{- end }}

{{- define "recsys.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "recsys.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "recsys.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
# Changing the owner of every file of a shared volume would take minutes at each start.
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "recsys.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "recsys.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "recsys.claim" -}}
{{- .Values.volume.existingClaim | default "recsys-home" }}
{{- end }}

{{- define "recsys.mounts" -}}
- {name: home, mountPath: /var/lib/recsys}
- {name: settings, mountPath: /etc/recsys, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "recsys.volumes" -}}
- name: home
  persistentVolumeClaim:
    claimName: {{ include "recsys.claim" . }}
- name: settings
  configMap:
    name: recsys-settings
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{- end }}

{{- /* The two variables that the settings know; a Service of ours would else add more by itself. */}}
{{- define "recsys.environment" -}}
- {name: RECSYS_HOME, value: /var/lib/recsys}
- {name: RECSYS_CONFIG, value: /etc/recsys/recsys.yaml}
- {name: PYTHONUNBUFFERED, value: "1"}
{{- end }}

{{- define "recsys.environmentFrom" -}}
{{- with . }}
envFrom:
  {{- range . }}
  - secretRef:
      name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "recsys.digestOfSettings" -}}
checksum/settings: {{ include "recsys.settings" . | sha256sum }}
{{- end }}

{{- define "recsys.principal" -}}
{{- printf "%s/ns/%s/sa/recsys-%s" .root.Values.mesh.trustDomain .root.Release.Namespace .identity }}
{{- end }}

{{- /* What the settings already say is not asked again. */}}
{{- define "recsys.kubernetes" -}}
{{- .Values.settings.kubernetes | default dict | toJson }}
{{- end }}

{{- define "recsys.route" -}}
{{- (include "recsys.kubernetes" . | fromJson).route | default "istio" }}
{{- end }}

{{- define "recsys.clusterDomain" -}}
{{- (include "recsys.kubernetes" . | fromJson).cluster_domain | default "cluster.local" }}
{{- end }}

{{- define "recsys.hosts" -}}
{{- ((include "recsys.kubernetes" . | fromJson).gateway | default dict).hosts | default (list "*") | toJson }}
{{- end }}

{{- /* The settings as the processes read them: namespace and image are those of this installation. */}}
{{- define "recsys.settings" -}}
{{- $own := dict "kubernetes" (dict "namespace" .Release.Namespace "image" (include "recsys.image" .) "image_pull_policy" .Values.image.pullPolicy) }}
{{- mustMergeOverwrite (deepCopy .Values.settings) $own | toYaml }}
{{- end }}

{{- define "recsys.modelName" -}}
{{- .Values.settings.model_name | default "recommender" }}
{{- end }}
