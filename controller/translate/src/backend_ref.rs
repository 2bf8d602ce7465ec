//! The backendRefs of a rule. Each kind of route writes them in a type tree of its own; all become one view.

use gateway_api::experimental::{grpcroutes, httproutes, tcproutes, udproutes};
use gateway_api::tlsroutes;

use crate::filter_view::{FilterView, RefView};

pub(crate) struct BackendRefView<'a> {
    pub(crate) reference: RefView<'a>,
    pub(crate) weight: Option<i32>,
    /// None on a route of streams, which has nothing to filter.
    pub(crate) filters: Vec<FilterView<'a>>,
}

/// Of the filters that a reference has, if its kind has any.
macro_rules! views {
    () => {
        Vec::new()
    };
    ($filters:ident) => {
        $filters.iter().flatten().map(FilterView::from).collect()
    };
}

/// Every field is named, so that one that is new breaks the build.
macro_rules! backend_ref_view {
    ($api:ident, $reference:ident $(, $filters:ident)?) => {
        impl<'a> From<&'a $api::$reference> for BackendRefView<'a> {
            fn from(written: &'a $api::$reference) -> Self {
                let $api::$reference { $($filters,)? group, kind, name, namespace, port, weight } = written;
                Self {
                    reference: RefView {
                        group: group.as_deref(),
                        kind: kind.as_deref(),
                        name,
                        namespace: namespace.as_deref(),
                        port: *port,
                    },
                    weight: *weight,
                    filters: views!($($filters)?),
                }
            }
        }
    };
}

backend_ref_view!(httproutes, HttpRouteRulesBackendRefs, filters);
backend_ref_view!(grpcroutes, GrpcRouteRulesBackendRefs, filters);
backend_ref_view!(tlsroutes, TlsRouteRulesBackendRefs);
backend_ref_view!(tcproutes, TcpRouteRulesBackendRefs);
backend_ref_view!(udproutes, UdpRouteRulesBackendRefs);
