use super::record::record;

/// The xids that mean something by themselves.
pub mod xid {
    pub const NOTIFICATION: i32 = -1;
    pub const PING: i32 = -2;
    pub const AUTH: i32 = -4;
    pub const SET_WATCHES: i32 = -8;
}

record! {
    /// Before every request but the first, which is a [`super::ConnectRequest`].
    #[derive(Copy)]
    RequestHeader {
        xid: i32,
        /// See [`super::Op`].
        op: i32,
    }

    /// Before every answer and notification but the first answer.
    #[derive(Copy)]
    ReplyHeader {
        xid: i32,
        /// Of a write its transaction, else the last one that the server has processed. Of a notification its
        /// transaction from 3.9 on, -1 before.
        zxid: i64,
        /// See [`super::ErrorCode`].
        error: i32,
    }

    /// Before every part of a multi, and after the last.
    #[derive(Copy)]
    MultiHeader {
        op: i32,
        done: bool,
        error: i32,
    }

    /// A notification's body.
    WatcherEvent {
        /// See [`super::EventType`].
        kind: i32,
        /// Always 3, connected, where a server sends it.
        state: i32,
        path: String,
    }
}

impl MultiHeader {
    /// After the last part.
    pub const END: Self = Self { op: -1, done: true, error: -1 };
}
