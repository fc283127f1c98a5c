//! Golden rows: a frame in, and what has to come of it, on the host and in the kernel.
//!
//! `frame` builds frames byte by byte, with nothing from lb-common: what is expected is not computed by what is tested.
//! `world` is the configuration that the rows meet, installed by the production reconciler. `rows` is the table. `dump` reads everything that packets can
//! change.

pub mod decap;
pub mod dump;
pub mod frame;
pub mod fuzz;
pub mod rows;
pub mod world;
