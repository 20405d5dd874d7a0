use crate::source::jute::{ErrorCode, MultiRequest, MultiResponse, MultiResult, Op, Request};

use super::change::Transaction;
use super::create::Creation;

/// Every part's result, or the results of a multi that failed: 0 before the part that failed, its error, and
/// `RuntimeInconsistency` after it.
pub(super) fn run(
    transaction: &mut Transaction<'_>,
    request: &MultiRequest,
    session: i64,
) -> Result<MultiResponse, MultiResponse> {
    let mut results = Vec::with_capacity(request.parts.len());
    for (index, part) in request.parts.iter().enumerate() {
        match self::part(transaction, part, session) {
            Ok(result) => results.push(result),
            Err(error) => {
                let code = |at: usize| match at.cmp(&index) {
                    std::cmp::Ordering::Less => ErrorCode::Ok,
                    std::cmp::Ordering::Equal => error,
                    std::cmp::Ordering::Greater => ErrorCode::RuntimeInconsistency,
                };
                let results = (0..request.parts.len()).map(|at| MultiResult::Failed(code(at).code())).collect();
                return Err(MultiResponse { results });
            }
        }
    }
    Ok(MultiResponse { results })
}

fn part(transaction: &mut Transaction<'_>, part: &Request, session: i64) -> Result<MultiResult, ErrorCode> {
    Ok(match part {
        Request::Create(op, request) => {
            let (path, stat) = transaction.create(&Creation::plain(*op, request, session)?)?;
            match op {
                Op::Create => MultiResult::Created(path),
                _ => MultiResult::CreatedWithStat(*op, path, stat),
            }
        }
        Request::CreateTtl(request) => {
            let (path, stat) = transaction.create(&Creation::with_ttl(request)?)?;
            MultiResult::CreatedWithStat(Op::CreateTtl, path, stat)
        }
        Request::Delete(request) => {
            transaction.delete(&request.path, request.version)?;
            MultiResult::Deleted
        }
        Request::SetData(request) => {
            MultiResult::Set(transaction.set(&request.path, request.data.as_deref(), request.version)?)
        }
        Request::Check(request) => {
            transaction.check(&request.path, request.version)?;
            MultiResult::Checked
        }
        _ => return Err(ErrorCode::Unimplemented),
    })
}
