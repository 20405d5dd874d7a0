use std::fmt;

use super::{JuteError, Reader, Writer};

/// A value of a znode, or any other buffer; `None` is null.
pub type Buffer = Option<Vec<u8>>;

/// What jute can read and write.
pub trait Record: Sized {
    /// The least number of bytes that one takes: bounds the count of a vector of them.
    const BYTES_MIN: usize;

    /// # Errors
    /// Says where the bytes stop being such a record.
    fn read(from: &mut Reader<'_>) -> Result<Self, JuteError>;

    fn write(&self, to: &mut Writer);

    /// The record by itself.
    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.into_bytes()
    }

    /// The record at the beginning of these bytes; what follows it is ignored, as ZooKeeper does.
    ///
    /// # Errors
    /// Says where the bytes stop being such a record.
    fn from_bytes(bytes: &[u8]) -> Result<Self, JuteError> {
        Self::read(&mut Reader::new(bytes))
    }
}

impl Record for () {
    const BYTES_MIN: usize = 0;

    fn read(_: &mut Reader<'_>) -> Result<Self, JuteError> {
        Ok(())
    }

    fn write(&self, _: &mut Writer) {}
}

impl Record for i32 {
    const BYTES_MIN: usize = 4;

    fn read(from: &mut Reader<'_>) -> Result<Self, JuteError> {
        from.int()
    }

    fn write(&self, to: &mut Writer) {
        to.int(*self);
    }
}

impl Record for i64 {
    const BYTES_MIN: usize = 8;

    fn read(from: &mut Reader<'_>) -> Result<Self, JuteError> {
        from.long()
    }

    fn write(&self, to: &mut Writer) {
        to.long(*self);
    }
}

impl Record for bool {
    const BYTES_MIN: usize = 1;

    fn read(from: &mut Reader<'_>) -> Result<Self, JuteError> {
        from.boolean()
    }

    fn write(&self, to: &mut Writer) {
        to.boolean(*self);
    }
}

impl Record for String {
    const BYTES_MIN: usize = 4;

    fn read(from: &mut Reader<'_>) -> Result<Self, JuteError> {
        from.string().map(str::to_owned)
    }

    fn write(&self, to: &mut Writer) {
        to.string(self);
    }
}

impl Record for Buffer {
    const BYTES_MIN: usize = 4;

    fn read(from: &mut Reader<'_>) -> Result<Self, JuteError> {
        Ok(from.buffer()?.map(<[u8]>::to_vec))
    }

    fn write(&self, to: &mut Writer) {
        to.buffer(self.as_deref());
    }
}

impl<T: Record> Record for Vec<T> {
    const BYTES_MIN: usize = 4;

    fn read(from: &mut Reader<'_>) -> Result<Self, JuteError> {
        let count = from.count(T::BYTES_MIN)?;
        (0..count).map(|_| T::read(from)).collect()
    }

    fn write(&self, to: &mut Writer) {
        let count = to.count(self.len());
        self.iter().take(count).for_each(|element| element.write(to));
    }
}

/// A buffer that no log line shows: a session's password, a credential. Null is empty.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Record for Secret {
    const BYTES_MIN: usize = 4;

    fn read(from: &mut Reader<'_>) -> Result<Self, JuteError> {
        Ok(Self(from.buffer()?.unwrap_or_default().to_vec()))
    }

    fn write(&self, to: &mut Writer) {
        to.buffer(Some(&self.0));
    }
}

/// A record that is its fields in order.
macro_rules! record {
    ($($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty),* $(,)? })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl $crate::source::jute::Record for $name {
            const BYTES_MIN: usize = 0 $(+ <$type as $crate::source::jute::Record>::BYTES_MIN)*;

            fn read(
                from: &mut $crate::source::jute::Reader<'_>,
            ) -> Result<Self, $crate::source::jute::JuteError> {
                Ok(Self { $($field: $crate::source::jute::Record::read(from)?,)* })
            }

            fn write(&self, to: &mut $crate::source::jute::Writer) {
                $($crate::source::jute::Record::write(&self.$field, to);)*
            }
        }
    )+};
}
pub(super) use record;
