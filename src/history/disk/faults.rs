//! Faults that a test puts behind [`Disk`](super::Disk).

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Space, Step};

/// What goes wrong, and what has happened so far. Clones share one plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// From this step on (the first is 1) nothing reaches the disk, as after kill -9; a write there is cut in half.
    pub die_at_step: Option<usize>,
    /// This fsync (the first is 1) fails with EIO.
    pub fail_sync: Option<usize>,
    /// After so many more bytes the disk is full.
    pub bytes_left: Option<usize>,
    /// What the file system says about its space.
    pub space: Option<Space>,
    pub steps: Vec<Step>,
    syncs: usize,
    dead: bool,
}

impl Faults {
    /// Changes the plan.
    pub(crate) fn plan<R>(&self, f: impl FnOnce(&mut Plan) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on nothing reaches the disk.
    pub(crate) fn die(&self) {
        self.plan(|plan| plan.dead = true);
    }

    /// Forgets what has happened so far.
    pub(crate) fn reset(&self) {
        self.plan(|plan| *plan = Plan::default());
    }

    pub(crate) fn space(&self) -> Option<Space> {
        self.plan(|plan| plan.space)
    }

    pub(crate) fn step(&self, step: Step) -> io::Result<usize> {
        self.plan(|plan| plan.step(step))
    }
}

impl Plan {
    fn step(&mut self, step: Step) -> io::Result<usize> {
        if self.dead {
            return Err(io::Error::other("the process is dead"));
        }
        self.steps.push(step);
        if self.die_at_step.is_some_and(|at| self.steps.len() >= at) {
            self.dead = true;
            return match step {
                Step::Write(bytes) if bytes > 1 => Ok(bytes / 2),
                _ => Err(io::Error::other("the process is dead")),
            };
        }
        match step {
            Step::Sync | Step::SyncDir => {
                self.syncs += 1;
                if self.fail_sync == Some(self.syncs) {
                    return Err(io::Error::from_raw_os_error(5));
                }
            }
            Step::Write(bytes) => {
                if let Some(left) = &mut self.bytes_left {
                    let allowed = bytes.min(*left);
                    *left -= allowed;
                    if allowed == 0 && bytes > 0 {
                        return Err(io::Error::from_raw_os_error(28));
                    }
                    return Ok(allowed);
                }
            }
            Step::Create | Step::CreateDir if self.bytes_left == Some(0) => {
                return Err(io::Error::from_raw_os_error(28));
            }
            _ => {}
        }
        Ok(usize::MAX)
    }
}
