// Package scenarios holds what a platform team and its application teams do with Portcullis on a real cluster, and what
// must hold while they do it. The tests run inside the cluster's network namespace (scripts/e2e.sh), against the Helm
// release that is installed there; each makes a namespace of its own. Users' manifests go through kubectl, as users send
// them; nothing sleeps: conditions are polled with a deadline.
package scenarios
