//! What the tests stand on.

mod controller;
mod objects;
mod world;

pub(crate) use controller::Running;
pub(crate) use world::World;
