//! The controller: Kubernetes objects in, versions and statuses out.
