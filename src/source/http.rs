//! A GET of a server of the ensemble: within a time and a bound, never through a proxy, never redirected.

use std::io::Read as _;
use std::time::Duration;

/// Why there is no body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    #[error("no answer within {0} ms")]
    TooLate(u128),
    #[error("{url} answers {status}")]
    Status { url: String, status: u16 },
    #[error("{0}")]
    Failed(String),
}

/// Gets the body of a URL; what is beyond `bytes_max` is left out.
///
/// # Errors
/// Not reachable, not in time, or another status than 200.
pub async fn get(url: &str, timeout: Duration, bytes_max: u64) -> Result<Vec<u8>, HttpError> {
    let owned = url.to_owned();
    // Its time is bounded by the client, so the thread comes back also where nobody waits for it any more.
    let asked = tokio::task::spawn_blocking(move || blocking(&owned, timeout, bytes_max));
    match asked.await {
        Ok(answer) => answer,
        Err(error) => Err(HttpError::Failed(error.to_string())),
    }
}

fn blocking(url: &str, timeout: Duration, bytes_max: u64) -> Result<Vec<u8>, HttpError> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        // A server of the ensemble, never behind somebody's proxy.
        .proxy(None)
        .max_redirects(0)
        .timeout_global(Some(timeout))
        .build();
    let failed = |error: ureq::Error| match error {
        ureq::Error::Timeout(_) => HttpError::TooLate(timeout.as_millis()),
        error => HttpError::Failed(error.to_string()),
    };
    let response = ureq::Agent::new_with_config(config).get(url).call().map_err(failed)?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(HttpError::Status { url: url.to_owned(), status });
    }
    let mut body = Vec::new();
    let mut reader = response.into_body().into_reader().take(bytes_max);
    reader.read_to_end(&mut body).map_err(|error| HttpError::Failed(error.to_string()))?;
    Ok(body)
}
