{{- define "portcullis.name" -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}-controller
{{- end }}

{{- define "portcullis.selector" -}}
app.kubernetes.io/name: portcullis-controller
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "portcullis.labels" -}}
{{ include "portcullis.selector" . }}
app.kubernetes.io/component: controller
app.kubernetes.io/part-of: portcullis
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "portcullis.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* Restricted, as the Pod Security Standards mean it. */}}
{{- define "portcullis.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "portcullis.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/*
The Gateway API belongs to the cluster. Where a cluster is asked (helm install, helm upgrade), it must be there and of
release 1.2 or later; `helm template` asks nobody, and the controller itself says what it misses.
*/}}
{{- define "portcullis.requireGatewayApi" -}}
{{- if (lookup "v1" "Namespace" "" "kube-system") }}
{{- $install := "install the standard channel from https://gateway-api.sigs.k8s.io/guides/ first (kubectl apply --server-side -f standard-install.yaml)" }}
{{- range $plural := list "gatewayclasses" "gateways" "httproutes" "referencegrants" }}
{{- $crd := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" (printf "%s.gateway.networking.k8s.io" $plural) }}
{{- if not $crd }}
{{- fail (printf "the Gateway API is not installed in this cluster (no CustomResourceDefinition %s.gateway.networking.k8s.io): %s" $plural $install) }}
{{- end }}
{{- $version := dig "metadata" "annotations" "gateway.networking.k8s.io/bundle-version" "" $crd }}
{{- if and $version (semverCompare "<1.2.0-0" $version) }}
{{- fail (printf "the Gateway API of this cluster is %s, and Portcullis needs 1.2 or later: %s" $version $install) }}
{{- end }}
{{- end }}
{{- range $plural := list "gatewayparameters" "backends" }}
{{- if not (lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" (printf "%s.portcullis.dev" $plural)) }}
{{- fail (printf "Portcullis's own kinds are not installed in this cluster (no CustomResourceDefinition %s.portcullis.dev): install the chart portcullis-crds first" $plural) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
