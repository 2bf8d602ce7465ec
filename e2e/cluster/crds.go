package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// installCRDs applies the Gateway API's own YAML, as it lies in its Go module.
func (l Layout) installCRDs(options Options) error {
	if options.GatewayAPI == "" {
		return nil
	}
	if options.Channel != "standard" && options.Channel != "experimental" {
		return fmt.Errorf("unknown channel %q; one of standard, experimental", options.Channel)
	}
	module, err := ModuleDir("sigs.k8s.io/gateway-api@" + options.GatewayAPI)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(module, "config", "crd", options.Channel, "gateway.networking*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("%s holds no CRDs of the %s channel", module, options.Channel)
	}
	apply := []string{"apply", "--server-side", "--force-conflicts"}
	for _, file := range files {
		apply = append(apply, "-f", file)
	}
	if err := l.kubectl(apply...); err != nil {
		return err
	}
	return l.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
}

// ModuleDir is the folder of a Go module, fetched by the Go command if need be. A module that asks for a newer Go than is
// installed gets it, from the same proxy.
func ModuleDir(module string) (string, error) {
	folder, err := downloaded(module, "local")
	if err != nil {
		folder, err = downloaded(module, "auto")
	}
	return folder, err
}

func downloaded(module, toolchain string) (string, error) {
	download := exec.Command("go", "mod", "download", "-json", module)
	download.Dir = "/" // outside any module: the version is the argument's
	download.Env = append(os.Environ(), "GOTOOLCHAIN="+toolchain)
	output, err := download.Output()
	var found struct{ Dir, Error string }
	if problem := json.Unmarshal(output, &found); problem != nil {
		return "", errors.Join(err, problem)
	}
	if found.Dir == "" {
		return "", fmt.Errorf("go mod download %s: %s", module, strings.TrimSpace(found.Error))
	}
	return found.Dir, nil
}
