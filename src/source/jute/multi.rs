use super::{
    Buffer, Create2Response, CreateResponse, GetDataResponse, JuteError, MultiHeader, Op, Reader, Record, Request,
    Stat, Writer,
};

/// The parts of a multi, or of a multi-read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MultiRequest {
    pub parts: Vec<Request>,
}

impl Record for MultiRequest {
    const BYTES_MIN: usize = MultiHeader::BYTES_MIN;

    fn read(from: &mut Reader<'_>) -> Result<Self, JuteError> {
        let mut parts = Vec::new();
        loop {
            let header = MultiHeader::read(from)?;
            if header.done {
                return Ok(Self { parts });
            }
            let op = Op::read(header.op)?;
            match op {
                Op::Create | Op::Create2 | Op::CreateContainer | Op::CreateTtl | Op::Delete | Op::SetData => {}
                Op::Check | Op::GetData | Op::GetChildren => {}
                _ => return Err(JuteError::NotInMulti(header.op)),
            }
            parts.push(Request::read(op, from)?);
        }
    }

    fn write(&self, to: &mut Writer) {
        for part in &self.parts {
            MultiHeader { op: part.op().code(), done: false, error: -1 }.write(to);
            part.write(to);
        }
        MultiHeader::END.write(to);
    }
}

/// What became of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiResult {
    /// create.
    Created(String),
    /// create2, createContainer or createTTL.
    CreatedWithStat(Op, String, Stat),
    Deleted,
    Set(Stat),
    Checked,
    Data(Buffer, Stat),
    Children(Vec<String>),
    /// See [`super::ErrorCode`]. Of a part before the one that failed it is 0.
    Failed(i32),
}

/// The answer to a multi or multi-read: a result a part, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MultiResponse {
    pub results: Vec<MultiResult>,
}

impl Record for MultiResponse {
    const BYTES_MIN: usize = MultiHeader::BYTES_MIN;

    fn read(from: &mut Reader<'_>) -> Result<Self, JuteError> {
        let mut results = Vec::new();
        loop {
            let header = MultiHeader::read(from)?;
            if header.done {
                return Ok(Self { results });
            }
            let op = Op::read(header.op)?;
            results.push(match op {
                Op::Create => MultiResult::Created(CreateResponse::read(from)?.path),
                Op::Create2 | Op::CreateContainer | Op::CreateTtl => {
                    let Create2Response { path, stat } = Record::read(from)?;
                    MultiResult::CreatedWithStat(op, path, stat)
                }
                Op::Delete => MultiResult::Deleted,
                Op::SetData => MultiResult::Set(Record::read(from)?),
                Op::Check => MultiResult::Checked,
                Op::GetData => {
                    let GetDataResponse { data, stat } = Record::read(from)?;
                    MultiResult::Data(data, stat)
                }
                Op::GetChildren => MultiResult::Children(Record::read(from)?),
                Op::Error => MultiResult::Failed(from.int()?),
                _ => return Err(JuteError::NotInMulti(header.op)),
            });
        }
    }

    fn write(&self, to: &mut Writer) {
        for result in &self.results {
            let (op, error) = match result {
                MultiResult::Created(_) => (Op::Create, 0),
                MultiResult::CreatedWithStat(op, ..) => (*op, 0),
                MultiResult::Deleted => (Op::Delete, 0),
                MultiResult::Set(_) => (Op::SetData, 0),
                MultiResult::Checked => (Op::Check, 0),
                MultiResult::Data(..) => (Op::GetData, 0),
                MultiResult::Children(_) => (Op::GetChildren, 0),
                MultiResult::Failed(error) => (Op::Error, *error),
            };
            MultiHeader { op: op.code(), done: false, error }.write(to);
            match result {
                MultiResult::Created(path) => path.write(to),
                MultiResult::CreatedWithStat(_, path, stat) => {
                    path.write(to);
                    stat.write(to);
                }
                MultiResult::Deleted | MultiResult::Checked => {}
                MultiResult::Set(stat) => stat.write(to),
                MultiResult::Data(data, stat) => {
                    data.write(to);
                    stat.write(to);
                }
                MultiResult::Children(children) => children.write(to),
                MultiResult::Failed(error) => to.int(*error),
            }
        }
        MultiHeader::END.write(to);
    }
}
