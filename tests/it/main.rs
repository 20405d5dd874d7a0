//! Tests against real servers, and against the embedded ensemble, in one binary. `tests/run` prepares what they need.

mod agent;
mod airflow;
mod check;
mod clock;
mod demo;
mod disk;
mod embedded;
mod faults;
mod golden;
mod harness;
mod imports;
mod main_job;
mod postgres;
mod prerequisites;
mod prometheus;
mod proxy;
mod queries;
mod readers;
mod reconnect;
mod servers;
mod slt;
mod story;
mod superset;
mod tail;
mod workload;
