//! What the caller decides, as against what users' objects say.

/// The controller name that our GatewayClass carries unless it is told otherwise.
pub const CONTROLLER_NAME: &str = "portcullis.dev/gateway-controller";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// GatewayClasses with this `controllerName` are ours, and so are status entries.
    pub controller_name: String,
    /// Standalone: listeners are bound to the Gateway's `spec.addresses`. In a cluster those belong to a Service, and
    /// listeners are bound to the pod's addresses.
    pub bind_addresses: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { controller_name: CONTROLLER_NAME.to_owned(), bind_addresses: false }
    }
}
