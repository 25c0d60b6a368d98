{{- define "media-operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 48 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* The name of a component's objects. The operator has the release's own: (dict "root" $ "component" "ingest"). */}}
{{- define "media-operator.name" -}}
{{- $fullname := include "media-operator.fullname" .root }}
{{- if eq .component "operator" }}{{ $fullname }}{{ else }}{{ printf "%s-%s" $fullname .component }}{{ end }}
{{- end }}

{{- /* Objects of the cluster carry the namespace too, so that two releases of one name do not meet. */}}
{{- define "media-operator.clusterName" -}}
{{ .root.Release.Namespace }}:{{ include "media-operator.name" . }}
{{- end }}

{{- define "media-operator.workNamespace" -}}
{{- .Values.workNamespace.name | default (printf "%s-work" .Release.Namespace) }}
{{- end }}

{{- /* What selects a component's pods: never changes over the life of a release. */}}
{{- define "media-operator.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "media-operator.labels" -}}
app.kubernetes.io/component: {{ .component }}
{{ include "media-operator.releaseLabels" .root }}
{{- end }}

{{- /* Labels of what belongs to no component. */}}
{{- define "media-operator.releaseLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/part-of: media-operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Labels of a component's pods, without what would restart them for nothing: (dict "root" $ "component" "ingest"). */}}
{{- define "media-operator.podLabels" -}}
{{- omit (include "media-operator.labels" . | fromYaml) "helm.sh/chart" "app.kubernetes.io/managed-by" | toYaml }}
{{- with (index .root.Values .component).podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "media-operator.serviceAccount" -}}
{{- $account := (index .root.Values .component).serviceAccount }}
{{- if $account.create }}
{{- $account.name | default (include "media-operator.name" .) }}
{{- else }}
{{- $account.name | default "default" }}
{{- end }}
{{- end }}

{{- define "media-operator.image" -}}
{{- $image := (index .root.Values .component).image }}
{{- $registry := .root.Values.global.imageRegistry | default $image.registry }}
{{- $name := ternary (printf "%s/%s" $registry $image.repository) $image.repository (ne $registry "") }}
{{- if $image.digest }}{{ $name }}@{{ $image.digest }}
{{- else }}{{ $name }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- /* What all our pods share beside their containers: (dict "root" $ "component" "ingest"). */}}
{{- define "media-operator.pod" -}}
{{- $values := index .root.Values .component }}
serviceAccountName: {{ include "media-operator.serviceAccount" . }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* What all our containers share: (dict "root" $ "component" "ingest"). */}}
{{- define "media-operator.container" -}}
{{- $values := index .root.Values .component -}}
{{- /* Resources of a component's own making come by the scope. */ -}}
image: {{ include "media-operator.image" . }}
imagePullPolicy: {{ $values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
resources:
  {{- toYaml (.resources | default $values.resources) | nindent 2 }}
{{- end }}

{{- /* Constraints that say nothing of pods are about those of the component. */}}
{{- define "media-operator.topologySpread" -}}
{{- $own := dict "labelSelector" (dict "matchLabels" (include "media-operator.selector" . | fromYaml)) "matchLabelKeys" (list "pod-template-hash") }}
{{- $spread := dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway" }}
topologySpreadConstraints:
{{- range (index .root.Values .component).topologySpreadConstraints | default (list $spread) }}
  - {{- ternary . (merge (deepCopy .) $own) (hasKey . "labelSelector") | toYaml | nindent 4 }}
{{- end }}
{{- end }}

{{- define "media-operator.publicBaseURL" -}}
{{- required "publicBaseURL is needed: what readers find before media/…, such as https://media.example.org" .Values.publicBaseURL }}
{{- end }}

{{- /* The hosts of Ingress and HTTPRoute as a JSON list; empty for an address, which no host name matches. */}}
{{- define "media-operator.hosts" -}}
{{- $host := regexReplaceAll ":[0-9]*$" (urlParse (include "media-operator.publicBaseURL" .root)).host "" }}
{{- if .hosts }}{{ toJson .hosts }}
{{- else if or (regexMatch "^[0-9.]+$" $host) (contains ":" $host) }}[]
{{- else }}{{ toJson (list $host) }}
{{- end }}
{{- end }}

{{- define "media-operator.endpoint" -}}
{{- .Values.s3.endpoint | default (printf "https://s3.%s.amazonaws.com" .Values.s3.region) | trimSuffix "/" }}
{{- end }}

{{- define "media-operator.bucket" -}}
{{- required "s3.bucket is needed: the bucket that holds the media" .Values.s3.bucket }}
{{- end }}

{{- /* The Secret with an account's keys, or nothing: (dict "root" $ "component" "ingest"). */}}
{{- define "media-operator.credentials" -}}
{{- $credentials := .root.Values.s3.credentials }}
{{- (index $credentials .component).existingSecret | default $credentials.shared.existingSecret }}
{{- end }}

{{- /* What obstore takes for an endpoint: in the virtual-hosted style it wants the bucket in it. (dict "root" $ "url" …) */}}
{{- define "media-operator.storeEndpoint" -}}
{{- $url := trimSuffix "/" .url }}
{{- if .root.Values.s3.pathStyle }}{{ $url }}
{{- else }}{{ replace "://" (printf "://%s." (include "media-operator.bucket" .root)) $url }}
{{- end }}
{{- end }}

{{- /* How a component reaches the store: (dict "root" $ "component" "ingest"). */}}
{{- define "media-operator.store" -}}
{{- $s3 := .root.Values.s3 -}}
- name: MEDIA_STORE_URL
  value: {{ printf "s3://%s/%s" (include "media-operator.bucket" .root) (trimAll "/" $s3.prefix) | trimSuffix "/" | quote }}
- name: AWS_REGION
  value: {{ $s3.region | quote }}
{{- with $s3.endpoint }}
- name: AWS_ENDPOINT
  value: {{ include "media-operator.storeEndpoint" (dict "root" $.root "url" .) | quote }}
{{- if hasPrefix "http://" . }}
- name: AWS_ALLOW_HTTP
  value: "true"
{{- end }}
{{- end }}
- name: AWS_VIRTUAL_HOSTED_STYLE_REQUEST
  value: {{ not $s3.pathStyle | quote }}
{{- with include "media-operator.caVariable" .root }}
{{ . }}
{{- end }}
{{- with include "media-operator.credentials" . }}
{{- $secret := . }}
{{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The authorities that the store's certificate comes from: a variable that every TLS library knows, and a file. */}}
{{- define "media-operator.caVariable" -}}
{{- if .Values.s3.caBundle.configMap -}}
- name: SSL_CERT_FILE
  value: /etc/media-store/ca.crt
{{- end }}
{{- end }}

{{- define "media-operator.caMount" -}}
{{- if .Values.s3.caBundle.configMap -}}
- {name: store-ca, mountPath: /etc/media-store, readOnly: true}
{{- end }}
{{- end }}

{{- define "media-operator.caVolume" -}}
{{- with .Values.s3.caBundle -}}
{{- if .configMap -}}
- name: store-ca
  configMap:
    name: {{ .configMap }}
    items:
      - {key: {{ .key | quote }}, path: ca.crt}
{{- end }}
{{- end }}
{{- end }}

{{- /* The port of the store. */}}
{{- define "media-operator.storePort" -}}
{{- $url := urlParse (include "media-operator.endpoint" .) }}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "80" "443" (eq $url.scheme "http")) }}
{{- end }}

{{- /* What is believed of JWTs, as variables of ingest; nothing without keys. */}}
{{- define "media-operator.jwt" -}}
{{- with .Values.ingest.jwt }}
{{- if or .jwksURL .jwksConfigMap }}
{{- if and .jwksURL .jwksConfigMap }}{{ fail "ingest.jwt: give either jwksURL or jwksConfigMap" }}{{ end }}
{{- $values := dict "ISSUER" (required "ingest.jwt.issuer is needed with a JWKS" .issuer) "AUDIENCE" (required "ingest.jwt.audience is needed with a JWKS" .audience) }}
{{- $_ := set $values "ALGORITHMS" (toJson .algorithms) }}
{{- $_ := set $values "LEEWAY_SECONDS" (int64 .leewaySeconds | toString) }}
{{- $_ := set $values "NAMESPACE" .namespace }}
{{- $_ := set $values "SCOPE_PREFIX" .scopePrefix }}
{{- $_ := set $values "JWKS_URL" .jwksURL }}
{{- $_ := set $values "JWKS_FILE" (ternary "/etc/media-jwks/jwks.json" "" (ne .jwksConfigMap "")) }}
{{- range $name, $claim := .claims }}
{{- $_ := set $values (printf "%s_CLAIM" (upper $name)) $claim }}
{{- end }}
{{- range $name, $value := $values }}
{{- if $value }}
- name: MEDIA_INGEST_JWT_{{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
