{{/* Fixed: flags, policies and the command line know it. */}}
{{- define "probelet.webhook" -}}probelet-webhook{{- end }}

{{- define "probelet.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "probelet.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: probelet
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "probelet.selector" -}}
app.kubernetes.io/name: probelet
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end }}

{{/* Image reference of a dict with repository, tag, digest; argument: list of root and that dict. */}}
{{- define "probelet.image" -}}
{{- $root := index . 0 }}{{ $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* User name of the webhook's own identity. */}}
{{- define "probelet.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "probelet.webhook" . }}
{{- end }}

{{/* The grace period, which must outlast the drain and the longest request that may be in hand at its end. */}}
{{- define "probelet.gracePeriod" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 }}
{{- $longest := 10000 }}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" .Values.drain -1 }}
{{- $longest = add $longest (mul (regexFind "[0-9]+" . | int64) (get $units (regexFind "[a-z]+" .))) }}
{{- end }}
{{- if gt $longest (mul 1000 (int64 .Values.terminationGracePeriodSeconds)) }}
{{- fail (printf "terminationGracePeriodSeconds is %d: it must be at least 10 more than drain (%s), or requests in hand are cut off" (int64 .Values.terminationGracePeriodSeconds) .Values.drain) }}
{{- end }}
{{- .Values.terminationGracePeriodSeconds }}
{{- end }}

{{/* The opt-in label, and never the namespaces that a cluster needs to start. */}}
{{- define "probelet.namespaceSelector" -}}
matchLabels:
  probelet.io/inject: enabled
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values:
      {{- range concat (list "kube-system" "kube-node-lease" .Release.Namespace) .Values.webhook.excludedNamespaces | uniq }}
      - {{ . }}
      {{- end }}
{{- end }}

{{/* Where the API server finds a hook; argument: list of root and path. caBundle only where it is given by hand:
     otherwise the webhook or cert-manager fills it in, and a field that is not rendered survives an upgrade. */}}
{{- define "probelet.clientConfig" -}}
{{- $root := index . 0 -}}
service:
  name: {{ include "probelet.webhook" $root }}
  namespace: {{ $root.Release.Namespace }}
  path: {{ index . 1 }}
  port: {{ $root.Values.service.port }}
{{- if eq $root.Values.tls.mode "secret" }}
caBundle: {{ required "tls.caBundle is required with tls.mode secret: the PEM of the CA that signed the certificate" $root.Values.tls.caBundle | b64enc }}
{{- end }}
{{- end }}

{{/* API version of MutatingAdmissionPolicy, or nothing where the shield is not to be rendered. */}}
{{- define "probelet.shieldVersion" -}}
{{- $shield := .Values.policies.shield -}}
{{- $group := "admissionregistration.k8s.io" -}}
{{- $mode := toString $shield.enabled -}}
{{- $v1 := .Capabilities.APIVersions.Has (printf "%s/v1/MutatingAdmissionPolicy" $group) -}}
{{- $v1beta1 := .Capabilities.APIVersions.Has (printf "%s/v1beta1/MutatingAdmissionPolicy" $group) -}}
{{- if or (eq $mode "true") (and (eq $mode "auto") (or $v1 $v1beta1)) -}}
{{- if $shield.apiVersion -}}
{{ $group }}/{{ $shield.apiVersion }}
{{- else -}}
{{ $group }}/{{ if and $v1beta1 (not $v1) }}v1beta1{{ else }}v1{{ end }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* CEL list of condition types that no sidecar may write, listed or not (protocol/src/name.rs NATIVE_CONDITIONS). */}}
{{- define "probelet.nativeConditions" -}}
['PodScheduled', 'Initialized', 'Ready', 'ContainersReady', 'DisruptionTarget', 'PodReadyToStartContainers', 'PodResizePending', 'PodResizeInProgress', 'AllContainersRestarting', 'KruisePodReady', 'InPlaceUpdateReady']
{{- end }}

{{/* CEL: names of one kind in probelet.io/writes, without reserved ones; argument: c, l or a. */}}
{{- define "probelet.writes" -}}
variables.writes.filter(w, w.startsWith('{{ . }}:')).map(w, w.substring(2)).filter(k, {{ if eq . "c" }}!(k in variables.nativeConditions){{ else }}!k.startsWith('probelet.io/') && !k.startsWith('kruise.io/'){{ end }})
{{- end }}

{{/* The file that the webhook reloads. */}}
{{- define "probelet.config" -}}
{{- $config := dict "shield" (ne (include "probelet.shieldVersion" .) "") }}
{{- with .Values.image.sidecar.pullPolicy }}{{ $_ := set $config "imagePullPolicy" . }}{{ end }}
{{- with .Values.webhook.excludedNamespaces }}{{ $_ := set $config "exemptNamespaces" . }}{{ end }}
{{- range $key, $value := .Values.config }}{{ $_ := set $config $key $value }}{{ end }}
{{- toYaml $config }}
{{- end }}
