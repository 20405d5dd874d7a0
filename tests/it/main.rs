//! Tests against real servers, and against the embedded ensemble, in one binary. `tests/run` prepares what they need.

mod agent;
mod check;
mod clock;
mod disk;
mod embedded;
mod faults;
mod golden;
mod harness;
mod imports;
mod main_job;
mod prerequisites;
mod proxy;
mod readers;
mod reconnect;
mod servers;
mod workload;
