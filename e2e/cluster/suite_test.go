package cluster

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestImagesAreThoseThatTheSuiteAsksFor(t *testing.T) {
	layout, module := Layout{Bin: "/bin"}, t.TempDir()
	write(t, filepath.Join(module, "base", "manifests.yaml"), `
      containers:
        - name: infra-backend-v1
          image: registry.k8s.io/gateway-api/echo-basic:v1.5.1
        - args: [-conf, /root/Corefile]
          image: registry.k8s.io/coredns/coredns:v1.12.2
`)
	write(t, filepath.Join(module, "tests", "a.yaml"), `
        - image: "registry.k8s.io/gateway-api/conformance/echo-basic:v0.2.0" # of another release
        - image: registry.k8s.io/gateway-api/echo-basic:v1.5.1
`)
	write(t, filepath.Join(module, "mesh", "manifests.yaml"), "          image: registry.k8s.io/gateway-api/echo-advanced:v1.5.1\n")
	want := map[string][]string{
		"/echo": {
			"registry.k8s.io/gateway-api/echo-basic:v1.5.1", "registry.k8s.io/gateway-api/conformance/echo-basic:v0.2.0",
		},
		"/bin/coredns": {"registry.k8s.io/coredns/coredns:v1.12.2"},
	}
	if got, err := layout.suiteImages(module, "/echo"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	write(t, filepath.Join(module, "tests", "b.yaml"), "  image: registry.k8s.io/other:v1\n")
	if _, err := layout.suiteImages(module, "/echo"); err == nil || !strings.Contains(err.Error(), "other:v1") {
		t.Errorf("an image that nobody builds: %v", err)
	}
}
