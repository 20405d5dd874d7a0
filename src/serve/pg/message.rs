//! What clients send, taken apart with every length checked. Pure.

use bytes::{Buf, Bytes};

/// The first message of a connection has no type.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Tls,
    Gss,
    Cancel { pid: i32, secret: Bytes },
    Startup { minor: u16, parameters: Vec<(String, String)> },
}

/// A message of an open session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target),
    Execute {
        portal: String,
        rows_max: u32,
    },
    Close(Target),
    Flush,
    Sync,
    Terminate,
    /// A password, or a step of SASL.
    Password(Bytes),
    /// COPY FROM is never begun, so what comes of it is left over and means nothing.
    Copy,
    FunctionCall,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bind {
    pub(super) portal: String,
    pub(super) statement: String,
    pub(super) formats: Vec<Format>,
    pub(super) values: Vec<Option<Bytes>>,
    pub(super) result_formats: Vec<Format>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Statement(String),
    Portal(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Binary,
}

/// A message that is not as the protocol has it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a message of type {0:?} is not as the protocol has it")]
    Body(char),
    #[error("there is no message of type {0:?}")]
    Unknown(char),
    #[error("a text in a message is not UTF-8")]
    Text,
    #[error("protocol {0}.{1} is not spoken here: 3.0 is")]
    Version(u16, u16),
    #[error("format code {0} is neither text (0) nor binary (1)")]
    Format(i16),
}

const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// Whether a message of this type belongs to the extended protocol: after an error there, all until Sync is skipped.
pub(super) fn is_extended(kind: u8) -> bool {
    matches!(kind, b'P' | b'B' | b'D' | b'E' | b'C' | b'H')
}

pub(super) fn opening(body: Bytes) -> Result<Opening, Malformed> {
    let mut body = Body { kind: 's', rest: body };
    let code = body.u32()?;
    match code {
        TLS => return Ok(Opening::Tls),
        GSS => return Ok(Opening::Gss),
        CANCEL => {
            let pid = body.u32()? as i32;
            return Ok(Opening::Cancel { pid, secret: body.rest });
        }
        _ => {}
    }
    let (major, minor) = ((code >> 16) as u16, code as u16);
    if major != 3 {
        return Err(Malformed::Version(major, minor));
    }
    let mut parameters = Vec::new();
    loop {
        let name = body.text()?;
        if name.is_empty() {
            return Ok(Opening::Startup { minor, parameters });
        }
        parameters.push((name, body.text()?));
    }
}

pub(super) fn message(kind: u8, body: Bytes) -> Result<Message, Malformed> {
    let mut body = Body { kind: char::from(kind), rest: body };
    Ok(match kind {
        b'Q' => Message::Query(body.text()?),
        b'P' => {
            let (name, sql) = (body.text()?, body.text()?);
            let types = body.list(4, Body::u32)?;
            Message::Parse { name, sql, types }
        }
        b'B' => {
            let (portal, statement) = (body.text()?, body.text()?);
            let formats = body.list(2, Body::format)?;
            let values = body.list(4, Body::value)?;
            let result_formats = body.list(2, Body::format)?;
            Message::Bind(Bind { portal, statement, formats, values, result_formats })
        }
        b'D' => Message::Describe(body.target()?),
        b'C' => Message::Close(body.target()?),
        b'E' => Message::Execute { portal: body.text()?, rows_max: body.u32()? },
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => Message::Terminate,
        b'p' => Message::Password(body.rest),
        b'd' | b'c' | b'f' => Message::Copy,
        b'F' => Message::FunctionCall,
        other => return Err(Malformed::Unknown(char::from(other))),
    })
}

/// The mechanism and the first message of SASLInitialResponse.
pub(super) fn sasl_initial(body: Bytes) -> Result<(String, Bytes), Malformed> {
    let mut body = Body { kind: 'p', rest: body };
    let mechanism = body.text()?;
    Ok((mechanism, body.value()?.unwrap_or_default()))
}

struct Body {
    kind: char,
    rest: Bytes,
}

impl Body {
    fn short(&self) -> Malformed {
        Malformed::Body(self.kind)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.rest.try_get_u32().map_err(|_| self.short())
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.rest.try_get_u16().map_err(|_| self.short())
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or_else(|| self.short())?;
        let text = self.rest.split_to(end);
        self.rest.advance(1);
        String::from_utf8(text.into()).map_err(|_| Malformed::Text)
    }

    fn format(&mut self) -> Result<Format, Malformed> {
        match self.u16()? as i16 {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            other => Err(Malformed::Format(other)),
        }
    }

    fn value(&mut self) -> Result<Option<Bytes>, Malformed> {
        let length = self.u32()? as i32;
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        if length > self.rest.len() {
            return Err(self.short());
        }
        Ok(Some(self.rest.split_to(length)))
    }

    /// A counted list whose elements take at least so many bytes each.
    fn list<T>(
        &mut self,
        element_bytes_min: usize,
        element: fn(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = usize::from(self.u16()?);
        if count.saturating_mul(element_bytes_min) > self.rest.len() {
            return Err(self.short());
        }
        (0..count).map(|_| element(self)).collect()
    }

    fn target(&mut self) -> Result<Target, Malformed> {
        match self.rest.try_get_u8() {
            Ok(b'S') => Ok(Target::Statement(self.text()?)),
            Ok(b'P') => Ok(Target::Portal(self.text()?)),
            _ => Err(self.short()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn startup_and_its_siblings() {
        let startup = Bytes::from_static(b"\0\x03\0\0user\0ada\0database\0zktrail\0\0");
        let expected = [("user", "ada"), ("database", "zktrail")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(opening(startup), Ok(Opening::Startup { minor: 0, parameters: expected.into() }));
        assert_eq!(opening(Bytes::copy_from_slice(&TLS.to_be_bytes())), Ok(Opening::Tls));
        assert_eq!(opening(Bytes::from_static(b"\0\x02\0\0user\0ada\0\0")), Err(Malformed::Version(2, 0)));
        assert_eq!(opening(Bytes::from_static(b"\0\x03\0\0user\0ada")), Err(Malformed::Body('s')));
    }

    #[test]
    fn bind_with_a_null_and_a_value() {
        let body = b"\0s\0\0\x01\0\x01\0\x02\xff\xff\xff\xff\0\0\0\x02ab\0\0";
        let expected = Bind {
            portal: String::new(),
            statement: "s".to_owned(),
            formats: vec![Format::Binary],
            values: vec![None, Some(Bytes::from_static(b"ab"))],
            result_formats: vec![],
        };
        assert_eq!(message(b'B', Bytes::from_static(body)), Ok(Message::Bind(expected)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind: u8, body: Vec<u8>) {
            let _ = message(kind, body.clone().into());
            let _ = sasl_initial(body.clone().into());
            let _ = opening(body.into());
        }
    }
}
