//! Where and in what precision is computed.

pub(crate) mod backend;
pub(crate) mod fault;
pub(crate) mod initial;
pub(crate) mod precision;
#[cfg(feature = "remote")]
pub(crate) mod remote;
pub(crate) mod replicas;
