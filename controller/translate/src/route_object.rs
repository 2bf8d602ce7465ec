//! What all kinds of route have in common: parents and their statuses. Each kind's generated types say it in words of
//! their own; here they are one.

use gateway_api::experimental::{grpcroutes, httproutes, tcproutes, udproutes};
use gateway_api::tlsroutes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use portcullis_ir::RouteKind;
use serde::{Deserialize, Serialize};

/// What a route wants to be attached to (`ParentReference`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// What one parent says of a route (`RouteParentStatus`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteParentStatus {
    pub conditions: Vec<Condition>,
    pub controller_name: String,
    pub parent_ref: ParentRef,
}

/// The status of a route of any kind (`RouteStatus`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteStatus {
    pub parents: Vec<RouteParentStatus>,
}

/// An entry of a status that is there, looked at where it lies.
#[derive(Clone, Debug)]
pub struct ParentView<'a> {
    pub controller_name: &'a str,
    pub conditions: &'a [Condition],
    pub parent_ref: ParentRefView<'a>,
}

/// A [`ParentRef`], looked at where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentRefView<'a> {
    pub group: Option<&'a str>,
    pub kind: Option<&'a str>,
    pub name: &'a str,
    pub namespace: Option<&'a str>,
    pub port: Option<i32>,
    pub section_name: Option<&'a str>,
}

/// A route of any kind.
pub trait RouteObject {
    fn metadata(&self) -> &ObjectMeta;
    fn route_kind(&self) -> RouteKind;
    fn parent_refs(&self) -> Vec<ParentRefView<'_>>;
    /// Whether there is a status at all.
    fn has_status(&self) -> bool;
    /// The entries of its status, of all controllers.
    fn parents(&self) -> Vec<ParentView<'_>>;
}

impl ParentRef {
    pub fn view(&self) -> ParentRefView<'_> {
        let Self { group, kind, name, namespace, port, section_name } = self;
        ParentRefView {
            group: group.as_deref(),
            kind: kind.as_deref(),
            name,
            namespace: namespace.as_deref(),
            port: *port,
            section_name: section_name.as_deref(),
        }
    }
}

impl ParentRefView<'_> {
    pub fn to_owned(&self) -> ParentRef {
        let Self { group, kind, name, namespace, port, section_name } = *self;
        ParentRef {
            group: group.map(str::to_owned),
            kind: kind.map(str::to_owned),
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            port,
            section_name: section_name.map(str::to_owned),
        }
    }
}

impl ParentView<'_> {
    pub fn to_owned(&self) -> RouteParentStatus {
        let Self { controller_name, conditions, parent_ref } = self;
        RouteParentStatus {
            conditions: conditions.to_vec(),
            controller_name: (*controller_name).to_owned(),
            parent_ref: parent_ref.to_owned(),
        }
    }
}

/// Every field is named, so that one that is new breaks the build.
macro_rules! route_object {
    ($api:ident, $object:ident, $parent:ident, $status:ident, $reference:ident) => {
        impl RouteObject for $api::$object {
            fn metadata(&self) -> &ObjectMeta {
                self.meta()
            }

            fn route_kind(&self) -> RouteKind {
                RouteKind::$object
            }

            fn parent_refs(&self) -> Vec<ParentRefView<'_>> {
                fn view(parent: &$api::$parent) -> ParentRefView<'_> {
                    let $api::$parent { group, kind, name, namespace, port, section_name } = parent;
                    ParentRefView {
                        group: group.as_deref(),
                        kind: kind.as_deref(),
                        name,
                        namespace: namespace.as_deref(),
                        port: *port,
                        section_name: section_name.as_deref(),
                    }
                }
                self.spec.parent_refs.iter().flatten().map(view).collect()
            }

            fn has_status(&self) -> bool {
                self.status.is_some()
            }

            fn parents(&self) -> Vec<ParentView<'_>> {
                fn view(parent: &$api::$status) -> ParentView<'_> {
                    let $api::$status { conditions, controller_name, parent_ref } = parent;
                    let $api::$reference { group, kind, name, namespace, port, section_name } = parent_ref;
                    ParentView {
                        controller_name,
                        conditions,
                        parent_ref: ParentRefView {
                            group: group.as_deref(),
                            kind: kind.as_deref(),
                            name,
                            namespace: namespace.as_deref(),
                            port: *port,
                            section_name: section_name.as_deref(),
                        },
                    }
                }
                self.status.iter().flat_map(|status| &status.parents).map(view).collect()
            }
        }
    };
}

route_object!(httproutes, HttpRoute, HttpRouteParentRefs, HttpRouteStatusParents, HttpRouteStatusParentsParentRef);
route_object!(grpcroutes, GrpcRoute, GrpcRouteParentRefs, GrpcRouteStatusParents, GrpcRouteStatusParentsParentRef);
route_object!(tlsroutes, TlsRoute, TlsRouteParentRefs, TlsRouteStatusParents, TlsRouteStatusParentsParentRef);
route_object!(tcproutes, TcpRoute, TcpRouteParentRefs, TcpRouteStatusParents, TcpRouteStatusParentsParentRef);
route_object!(udproutes, UdpRoute, UdpRouteParentRefs, UdpRouteStatusParents, UdpRouteStatusParentsParentRef);
