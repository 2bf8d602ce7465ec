package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var imageLine = regexp.MustCompile(`(?m)^\s*(?:- )?image:\s*["']?([^\s"']+)`)

// ImportSuite puts the images of a conformance suite's backends into containerd, under the names that the manifests in
// the suite's own module ask for. `echo` is the suite's echo server, built from its module.
func (l Layout) ImportSuite(module, echo string) error {
	images, err := l.suiteImages(module, echo)
	if err != nil {
		return err
	}
	for program, names := range images {
		if err := l.Import(Image{Tags: names, Program: program}); err != nil {
			return err
		}
	}
	return nil
}

// suiteImages are the names of images by the program that each holds. The mesh's manifests are left out: they are no
// Gateway's.
func (l Layout) suiteImages(module, echo string) (map[string][]string, error) {
	tags := map[string][]string{}
	for _, folder := range []string{"base", "tests"} {
		err := filepath.WalkDir(filepath.Join(module, folder), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, match := range imageLine.FindAllSubmatch(text, -1) {
				tag := string(match[1])
				program, err := l.programOf(tag, echo)
				if err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				if !slices.Contains(tags[program], tag) {
					tags[program] = append(tags[program], tag)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(tags) == 0 {
		return nil, fmt.Errorf("the manifests in %s name no image", module)
	}
	return tags, nil
}

// programOf is the program that an image of the suite holds.
func (l Layout) programOf(tag, echo string) (string, error) {
	name := tag[strings.LastIndexByte(tag, '/')+1:]
	switch repository, _, _ := strings.Cut(name, ":"); repository {
	case "echo-basic":
		return echo, nil
	case "coredns":
		return l.program("coredns"), nil
	default:
		return "", fmt.Errorf("image %s is not known here: add its program to programOf", tag)
	}
}
