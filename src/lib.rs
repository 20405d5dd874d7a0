//! The flight recorder of an Apache ZooKeeper ensemble.
//!
//! The modules are the stages of the data, in its order:
//!
//! ```text
//! ensemble → source → tree → history ⇄ query → serve → people
//!            observe  derive  record    ask     translate
//! ```
//!
//! - [`zk`] is the vocabulary that all share: paths, zxids, Stats, observations, changes.
//! - [`source`] turns what an ensemble shows into one ordered stream of observations.
//! - [`tree`] derives changes from them; pure and synchronous.
//! - [`lens`] decides what of a value is recorded.
//! - [`history`] makes changes durable (WAL, then Parquet) and reads them back.
//! - [`query`] answers SQL over the history.
//! - [`metrics`] names every metric in one place.
//! - [`serve`] and [`cli`] translate for people; [`agent`] ties the stages together.
//! - [`demo`] stands beside them: an ensemble in memory, for the demo and for fast tests. Nothing else uses it.
//!
//! What zktrail is not: it never writes to an ensemble, and it is no ZooKeeper browser, exporter of server
//! internals, or backup tool.

pub mod agent;
pub mod cli;
pub mod config;
pub mod demo;
pub mod history;
pub mod lens;
pub mod metrics;
pub mod query;
pub mod serve;
pub mod source;
pub mod tree;
pub mod zk;
