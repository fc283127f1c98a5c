//! What the tests, the bench and the live view of the xlb load balancer share.

pub mod lab;
