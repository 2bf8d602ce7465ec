package scenarios

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"portcullis.dev/e2e/load"
)

// The release is upgraded, removed and installed again under load: users' objects stay, and so does traffic.
func TestHelmUpgradeAndUninstall(t *testing.T) {
	namespace, address := fronted(t)
	apply(t, namespace, `
apiVersion: portcullis.dev/v1alpha1
kind: GatewayParameters
metadata: {name: kept}
spec: {}
`)
	values := helm(t, "get", "values", "portcullis", "-n", system, "-o", "yaml")
	restored := false
	install := func(extra ...string) {
		args := append([]string{"upgrade", "--install", "portcullis", charts(t) + "/portcullis", "-n", system, "--wait", "--timeout=120s", "-f", "-"}, extra...)
		helmWith(t, values, args...)
	}
	t.Cleanup(func() {
		if !restored {
			install()
		}
	})
	underLoad(t, load.Load{Address: address, Host: "app.example"}, func(run *load.Run) {
		install("--set", "replicas=1")
		eventually(t, soon, "one controller", func() error { return count(t, system, controllers, 1) })
		enough(t, run, run.Count(), 200)
		helm(t, "uninstall", "portcullis", "-n", system, "--wait", "--timeout=60s")
		eventually(t, soon, "no controller", func() error { return count(t, system, controllers, 0) })
		enough(t, run, run.Count(), 500)
		for _, each := range []string{"gateway/front", "httproute/app", "gatewayparameters.portcullis.dev/kept"} {
			kubectl(t, "get", "-n", namespace, each)
		}
		install()
		restored = true
	})
	programmed(t, namespace, "front")
	apply(t, namespace, httpRoute("again", "NAMESPACE/front", "again.example", "app"))
	answers(t, address, "again.example", "/", http.StatusOK, "app")
}

func charts(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("CHARTS")
	if folder == "" {
		t.Fatal("CHARTS must name the folder of the charts: run this by scripts/e2e.sh scenarios")
	}
	return folder
}

func helm(t *testing.T, args ...string) string {
	t.Helper()
	return helmWith(t, "", args...)
}

func helmWith(t *testing.T, input string, args ...string) string {
	t.Helper()
	command := exec.Command(layout.Bin+"/helm", args...)
	command.Stdin = strings.NewReader(input)
	command.Env = append(os.Environ(), "KUBECONFIG="+layout.Kubeconfig())
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return string(output)
}
