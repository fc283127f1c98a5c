//! The kernel side of xlb: maps, hooks and helper calls around `lb-common`.
//!
//! What happens to a packet is decided and tested in `lb-common`; nothing here is worth a unit test. The library exists so
//! that the production object and the testbed object run the same code.

#![no_std]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "the target has no other compare-exchange")]

pub mod capture;
pub mod context;
pub mod count;
pub mod ingress;
pub mod maps;
pub mod reply;
pub mod route;
pub mod tables;
