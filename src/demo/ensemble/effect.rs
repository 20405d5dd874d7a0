/// A connection, as long as the ensemble lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId(pub u64);

/// What is to be done after a packet, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// A packet without its length.
    Send(ConnectionId, Vec<u8>),
    /// Ends a connection when everything before has been sent.
    Close(ConnectionId),
}

/// The moment of a packet: told, never asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Milliseconds since 1970: what Stats show.
    pub wall_ms: i64,
    /// Since the ensemble was started, never going back: what sessions expire by.
    pub running: std::time::Duration,
}
