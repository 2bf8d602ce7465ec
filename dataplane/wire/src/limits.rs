//! How much a reader takes.

/// Bounds on what is received; a sender cuts its messages by the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message.
    pub max_message: usize,
    /// Bytes of one resource; a larger one is refused alone.
    pub max_resource: usize,
    /// Resources of one update, and of everything held.
    pub max_resources: usize,
    /// Bytes of all parts of one update.
    pub max_update: usize,
}

impl Limits {
    /// Bytes of a message besides its resources: the head, and the framing of one resource.
    pub(crate) const OVERHEAD: usize = 256;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 4 * 1024 * 1024,
            max_resource: 1024 * 1024,
            max_resources: 1_000_000,
            max_update: 512 * 1024 * 1024,
        }
    }
}
