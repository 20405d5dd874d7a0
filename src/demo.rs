//! What the demo runs on. Nothing of the product uses it.
//!
//! [`ensemble`] is an in-memory server of ZooKeeper's client protocol, for the demo and for fast tests with injected
//! faults. It is no ZooKeeper: nothing is replicated, nothing survives the process.

//! [`data_centre`] lives on it, and [`story`] asks what its history answers.

pub mod data_centre;
pub mod ensemble;
pub mod story;
