package cluster

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Image is a container image of one static program.
type Image struct {
	Tag     string // as manifests name it
	Program string // path of the program on this machine; lands in /<base name>
	User    string // numeric; empty means root
}

// Import builds the image and puts it into containerd, so that no pod ever pulls.
func (l Layout) Import(image Image) error {
	program, err := os.ReadFile(image.Program)
	if err != nil {
		return err
	}
	target := "/" + filepath.Base(image.Program)
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return layerOf(target, program) })
	if err != nil {
		return err
	}
	built, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	built, err = mutate.Config(built, v1.Config{Entrypoint: []string{target}, User: image.User})
	if err != nil {
		return err
	}
	tag, err := name.NewTag(image.Tag, name.WeakValidation)
	if err != nil {
		return err
	}
	archive := l.file("images", filepath.Base(image.Program)+".tar")
	if err := tarball.WriteToFile(archive, tag, built); err != nil {
		return err
	}
	return l.ImportArchive(archive)
}

// ImportArchive puts an image archive (`docker save` form) into containerd.
func (l Layout) ImportArchive(archive string) error {
	return run(l.program("ctr"), "--address", l.containerdSocket(), "-n", "k8s.io", "images", "import",
		"--local", archive)
}

func (l Layout) importPause() error {
	return l.Import(Image{Tag: "localhost/pause:1", Program: l.program("pause"), User: "65535"})
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
