package scenarios

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// What each ServiceAccount may do is what docs/reference/rbac.md says, to the line, and the data plane's may do nothing
// that any other authenticated account may not.
func TestPermissionsAreThoseOfTheDocs(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, gateway("front")+"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: nobody}\n")
	programmed(t, namespace, "front")
	nobody := permissions(t, namespace, "nobody", namespace)

	var accounts struct {
		Items []struct {
			Metadata struct{ Name string }
		}
	}
	asJSON(t, kubectl(t, "get", "serviceaccounts", "-n", namespace, "-l", ofGateway("front"), "-o", "json"), &accounts)
	if len(accounts.Items) != 1 {
		t.Fatalf("a Gateway has one ServiceAccount, found %d", len(accounts.Items))
	}
	if own := permissions(t, namespace, accounts.Items[0].Metadata.Name, namespace); !slices.Equal(slices.Compact(own), documentedPermissions(t, "## Data planes")) {
		t.Errorf("docs/reference/rbac.md does not say what the data plane's account may:\n%s", strings.Join(own, "\n"))
	}
	for _, where := range []string{namespace, system} {
		if extra := minus(permissions(t, namespace, accounts.Items[0].Metadata.Name, where), nobody); len(extra) > 0 {
			t.Errorf("the data plane's account may, in %s:\n%s", where, strings.Join(extra, "\n"))
		}
	}
	documented := documentedPermissions(t, "## The controller, in its own namespace")
	actual := minus(permissions(t, system, "portcullis-controller", system), nobody)
	if len(actual) == 0 {
		t.Fatal("the controller's account may do nothing, it seems: nothing was compared")
	}
	for _, line := range actual {
		if !slices.Contains(documented, line) {
			t.Errorf("not in docs/reference/rbac.md: %s", line)
		}
	}
	for _, line := range documented {
		if !slices.Contains(actual, line) {
			t.Errorf("in docs/reference/rbac.md, but not so: %s", line)
		}
	}
}

// permissions is what `kubectl auth can-i --list` prints in a namespace, one normalised line each.
func permissions(t *testing.T, of, account, in string) []string {
	t.Helper()
	return tableLines(kubectl(t, "auth", "can-i", "--list", "-n", in, "--as=system:serviceaccount:"+of+":"+account))
}

func tableLines(table string) []string {
	var normal []string
	for line := range strings.Lines(table) {
		fields := strings.Join(strings.Fields(line), " ")
		if strings.HasSuffix(fields, "]") {
			normal = append(normal, fields)
		}
	}
	slices.Sort(normal)
	return normal
}

func minus(lines, without []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return slices.Contains(without, line) })
}

// documentedPermissions are the lines of the table in the code block of a section, sorted.
func documentedPermissions(t *testing.T, section string) []string {
	t.Helper()
	text, err := os.ReadFile(os.Getenv("DOCS") + "/reference/rbac.md")
	if err != nil {
		t.Fatalf("%v: DOCS must name the folder of the docs: run this by scripts/e2e.sh scenarios", err)
	}
	_, after, found := strings.Cut(string(text), section+"\n")
	if !found {
		t.Fatalf("docs/reference/rbac.md has no section %q", section)
	}
	own, _, _ := strings.Cut(after, "\n## ")
	return tableLines(own)
}
