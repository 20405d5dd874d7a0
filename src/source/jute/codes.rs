use super::JuteError;

/// Names for the ints of the wire.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $value:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant = $value,)+
        }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The int on the wire.
            pub const fn code(self) -> i32 {
                self as i32
            }

            /// `None` for an int that has no name here.
            pub const fn from_code(code: i32) -> Option<Self> {
                match code {
                    $($value => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// What a request, or a part of a multi, asks for.
    Op {
        /// In a multi's answer: this part failed.
        Error = -1,
        CreateSession = -10,
        CloseSession = -11,
        Create = 1,
        Delete = 2,
        Exists = 3,
        GetData = 4,
        SetData = 5,
        GetAcl = 6,
        SetAcl = 7,
        GetChildren = 8,
        Sync = 9,
        Ping = 11,
        GetChildren2 = 12,
        Check = 13,
        Multi = 14,
        Create2 = 15,
        Reconfig = 16,
        CheckWatches = 17,
        RemoveWatches = 18,
        CreateContainer = 19,
        DeleteContainer = 20,
        CreateTtl = 21,
        MultiRead = 22,
        Auth = 100,
        SetWatches = 101,
        Sasl = 102,
        GetEphemerals = 103,
        GetAllChildrenNumber = 104,
        SetWatches2 = 105,
        AddWatch = 106,
        WhoAmI = 107,
    }
}

impl Op {
    /// # Errors
    /// [`JuteError::UnknownOp`].
    pub fn read(code: i32) -> Result<Self, JuteError> {
        Self::from_code(code).ok_or(JuteError::UnknownOp(code))
    }
}

codes! {
    /// How a request ended.
    ErrorCode {
        Ok = 0,
        SystemError = -1,
        /// Of the parts of a failed multi that come after the one that failed.
        RuntimeInconsistency = -2,
        ConnectionLoss = -4,
        MarshallingError = -5,
        Unimplemented = -6,
        OperationTimeout = -7,
        BadArguments = -8,
        NoNode = -101,
        NoAuth = -102,
        BadVersion = -103,
        NoChildrenForEphemerals = -108,
        NodeExists = -110,
        NotEmpty = -111,
        SessionExpired = -112,
        InvalidAcl = -114,
        AuthFailed = -115,
        SessionMoved = -118,
        NotReadOnly = -119,
        NoWatcher = -121,
        ReconfigDisabled = -123,
        QuotaExceeded = -125,
        Throttled = -127,
    }
}

codes! {
    /// What a notification tells.
    EventType {
        NodeCreated = 1,
        NodeDeleted = 2,
        NodeDataChanged = 3,
        NodeChildrenChanged = 4,
        DataWatchRemoved = 5,
        ChildWatchRemoved = 6,
        PersistentWatchRemoved = 7,
    }
}

codes! {
    /// The mode of an addWatch.
    WatchMode {
        Persistent = 0,
        PersistentRecursive = 1,
    }
}

codes! {
    /// Which watches a removeWatches or checkWatches means.
    WatcherType {
        Children = 1,
        Data = 2,
        Any = 3,
    }
}
