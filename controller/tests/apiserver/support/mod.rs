//! What the tests stand on.

mod controller;
mod objects;
mod rights;
mod world;

pub(crate) use controller::Running;
pub(crate) use objects::GATEWAY;
pub(crate) use world::World;
