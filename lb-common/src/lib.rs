//! What kernel and userspace of the xlb load balancer must agree on, or decide identically.
//!
//! `lb-ebpf` runs the steps of [`decide`], [`commit`] and [`rewrite`] on live packets, `lb-userspace` fills the tables of
//! [`abi`] that they read, and the tests run the same functions on the host. So there is no `std` here, no allocation and no I/O.

#![cfg_attr(not(test), no_std)]

pub mod abi;
pub mod capture;
pub mod checksum;
pub mod commit;
pub mod decap;
pub mod decide;
pub mod frame;
pub mod hash;
pub mod maglev;
pub mod parse;
pub mod reason;
pub mod rewrite;
