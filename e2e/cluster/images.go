package cluster

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Image is a container image of one static program, under one or more names.
type Image struct {
	Tags    []string // as manifests name it
	Program string   // path of the program on this machine; lands in /<base name>
	User    string   // numeric; empty means root
}

// BackendImage is the scenarios' backend: e2e/cmd/backend.
const BackendImage = "docker.io/portcullis-e2e/backend:1"

// Import builds the image and puts it into containerd, so that no pod ever pulls.
func (l Layout) Import(image Image) error {
	built, err := image.build()
	if err != nil {
		return err
	}
	named := map[name.Tag]v1.Image{}
	for _, each := range image.Tags {
		tag, err := name.NewTag(each, name.WeakValidation)
		if err != nil {
			return err
		}
		named[tag] = built
	}
	archive := l.file("images", filepath.Base(image.Program)+".tar")
	if err := tarball.MultiWriteToFile(archive, named); err != nil {
		return err
	}
	return l.ImportArchive(archive)
}

// ImportArchive puts an image archive (`docker save` form) into containerd.
func (l Layout) ImportArchive(archive string) error {
	return run(l.program("ctr"), "--address", l.ContainerdSocket(), "-n", "k8s.io", "images", "import",
		"--local", archive)
}

func (l Layout) importImages() error {
	for _, image := range []Image{
		{Tags: []string{"localhost/pause:1"}, Program: l.program("pause"), User: "65535"},
		{Tags: []string{BackendImage}, Program: l.program("backend"), User: "65532"},
	} {
		if err := l.Import(image); err != nil {
			return err
		}
	}
	return nil
}

func (i Image) build() (v1.Image, error) {
	program, err := os.ReadFile(i.Program)
	if err != nil {
		return nil, err
	}
	target := "/" + filepath.Base(i.Program)
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return layerOf(target, program) })
	if err != nil {
		return nil, err
	}
	built, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	// containerd passes over an image that does not name its platform.
	file, err := built.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config = v1.Config{Entrypoint: []string{target}, User: i.User}
	return mutate.ConfigFile(built, file)
}

func layerOf(target string, program []byte) (io.ReadCloser, error) {
	var layer bytes.Buffer
	writer := tar.NewWriter(&layer)
	header := &tar.Header{Name: target[1:], Mode: 0o755, Size: int64(len(program)), Typeflag: tar.TypeReg}
	if err := writer.WriteHeader(header); err != nil {
		return nil, fmt.Errorf("layer of %s: %w", target, err)
	}
	if _, err := writer.Write(program); err != nil {
		return nil, fmt.Errorf("layer of %s: %w", target, err)
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("layer of %s: %w", target, err)
	}
	return io.NopCloser(&layer), nil
}
