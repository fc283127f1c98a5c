//! Everything that one lookup finds: control, services, backends, source addresses.
//!
//! A lookup in an array map costs about a dozen instructions even where the kernel inlines it. So all tables of fixed size are
//! one value of one entry, and what is inside is reached by a masked index.

use bytemuck::{Pod, Zeroable};

use super::backend::{Backend, MAX_BACKENDS};
use super::control::Control;
use super::service::ServiceTable;

/// The value of the node map's single entry; about 4 MB, of which a packet touches a few cache lines.
#[repr(C, align(64))]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Node {
    /// The node's state.
    pub control: Control,
    /// Both halves of the service table.
    pub services: [ServiceTable; 2],
    /// Backends by id.
    pub backends: [Backend; MAX_BACKENDS as usize],
    /// Source addresses of mode `fullnat`, those of a service behind each other; an IPv4 address in the first four bytes.
    pub sources: [[u8; 16]; MAX_SOURCES as usize],
}

/// Source addresses of mode `fullnat` that a node can have.
pub const MAX_SOURCES: u32 = 1 << 12;
