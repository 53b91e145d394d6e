module edgemesh.lab/istio

go 1.26

tool (
	istio.io/istio/istioctl/cmd/istioctl
	istio.io/istio/pilot/cmd/pilot-agent
	istio.io/istio/pilot/cmd/pilot-discovery
)

// Istio's release tags are no Go versions. This is its main branch of 2026-08-27 (1.32-alpha).
require istio.io/istio v0.0.0-20260827124520-eed52ebb66ad

// Istio requires these by commits that the module proxy does not serve: the nearest released versions.
replace (
	github.com/envoyproxy/go-control-plane/contrib => github.com/envoyproxy/go-control-plane/contrib v1.36.1-0.20260729145720-a2d8c7492908
	github.com/envoyproxy/go-control-plane/envoy => github.com/envoyproxy/go-control-plane/envoy v1.39.0
	istio.io/api => istio.io/api v1.31.1
	istio.io/client-go => istio.io/client-go v1.31.1
)
