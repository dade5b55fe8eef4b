//! Devices: which backend, in what precision, and one batch on several of them.

pub(crate) mod backend;
pub(crate) mod fault;
pub(crate) mod initial;
pub(crate) mod precision;
#[cfg(feature = "remote")]
pub(crate) mod remote;
pub(crate) mod replicas;
