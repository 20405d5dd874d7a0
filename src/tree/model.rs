//! A simulated ensemble, a simulated connection, and what must hold between its true history and the rows.

mod check;
pub(crate) mod connection;
mod run;
pub(crate) mod server;
mod totals;

use proptest::prelude::*;

use self::check::check;
use self::connection::Connection;
use self::run::Run;
use self::server::Server;
use crate::zk::ScanReason;

/// One step of a run.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Operations in one transaction.
    Commit(Vec<Operation>),
    /// The server answers so many of the reads that wait.
    Answer(usize),
    Disconnect,
    /// The agent starts anew from what it recorded.
    Restart,
    Reconnect,
    SweepAcls,
}

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Create(usize, bool),
    Set(usize, u8),
    Delete(usize),
    SetAcl(usize),
    Reconfigure,
    CloseSession,
}

/// Few paths, so that they meet; siblings around the slash, and three levels.
pub(crate) const PATHS: &[&str] = &["/a", "/a-b", "/a/x", "/a/y", "/a/x/1", "/b", "/b/x", "/a/x/2"];

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    let path = 0..PATHS.len();
    prop_oneof![
        6 => (path.clone(), prop::bool::weighted(0.2)).prop_map(|(path, ephemeral)| Operation::Create(path, ephemeral)),
        6 => (path.clone(), 0u8..4).prop_map(|(path, value)| Operation::Set(path, value)),
        5 => path.clone().prop_map(Operation::Delete),
        1 => path.prop_map(Operation::SetAcl),
        1 => Just(Operation::Reconfigure),
        1 => Just(Operation::CloseSession),
    ]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => operation().prop_map(|operation| Step::Commit(vec![operation])),
        4 => prop::collection::vec(operation(), 2..6).prop_map(Step::Commit),
        // Several lives of one path in one transaction.
        2 => (0..PATHS.len(), any::<bool>(), 0u8..4).prop_map(|(path, first, value)| {
            let mut all = vec![
                Operation::Create(path, false),
                Operation::Set(path, value),
                Operation::Delete(path),
                Operation::Create(path, false),
            ];
            if first {
                all.insert(0, Operation::Delete(path));
            }
            Step::Commit(all)
        }),
        12 => (1usize..8).prop_map(Step::Answer),
        1 => Just(Step::Disconnect),
        1 => Just(Step::Restart),
        3 => Just(Step::Reconnect),
        1 => Just(Step::SweepAcls),
    ]
}

fn run(before: &[Vec<Operation>], steps: &[Step], zxids: bool) -> Result<(), TestCaseError> {
    let mut server = Server::new();
    for operations in before {
        server.commit(operations);
    }
    server.forget_history();
    let mut connection = Connection::new(zxids, Run::new());
    connection.connect(&mut server, ScanReason::Bootstrap);
    for step in steps {
        match step {
            Step::Commit(operations) => {
                server.commit(operations);
                connection.deliver(&mut server);
            }
            Step::Answer(count) => connection.answer(&server, *count),
            Step::Disconnect => connection.disconnect(),
            Step::Restart => {
                if connection.restart() {
                    connection.listener.restart();
                }
            }
            Step::Reconnect => connection.connect(&mut server, ScanReason::Reconnect),
            Step::SweepAcls => connection.sweep(&server),
        }
    }
    connection.connect(&mut server, ScanReason::Reconnect);
    connection.answer(&server, usize::MAX);
    check(&server, &connection).map_err(|error| TestCaseError::fail(format!("{error}\n{}", connection.listener.tell())))
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(2_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn rows_tell_the_true_history(
        before in prop::collection::vec(prop::collection::vec(operation(), 1..3), 0..12),
        steps in prop::collection::vec(step(), 0..60),
        zxids in any::<bool>(),
    ) {
        run(&before, &steps, zxids)?;
    }
}
