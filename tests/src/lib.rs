//! What the tests, the bench and the live view of the xlb load balancer share.

pub mod bench;
pub mod guest;
pub mod lab;
pub mod packets;
pub mod requirement;
pub mod testbed;
