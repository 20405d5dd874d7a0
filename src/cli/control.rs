//! Asks the running agent to do something: over its HTTP door, with the token that only the history's owner can read.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::agent::control::{Door, read_door};

/// Where the agent of this folder answers, if one is running.
pub(super) fn door(data_dir: &Path) -> anyhow::Result<Option<Door>> {
    read_door(data_dir).with_context(|| format!("cannot read the agent's token in {}", data_dir.display()))
}

/// Posts to the agent and gives its answer, or its refusal as an error.
pub(super) fn post(door: &Door, path: &str) -> anyhow::Result<String> {
    let request = client(None).post(format!("http://{}{path}", door.http));
    let response = request.header("Authorization", &bearer(door)).send_empty();
    let (succeeded, body) = answer(door, response)?;
    if !succeeded {
        let parsed: Option<serde_json::Value> = serde_json::from_str(&body).ok();
        let cause = parsed.as_ref().and_then(|body| body.get("error")).and_then(|error| error.as_str());
        bail!("{}", cause.unwrap_or(body.trim()));
    }
    Ok(body)
}

/// What the agent answers within this time, and whether that is good (2xx).
pub(super) fn get(door: &Door, path: &str, within: Duration) -> anyhow::Result<(bool, String)> {
    let request = client(Some(within)).get(format!("http://{}{path}", door.http));
    answer(door, request.header("Authorization", &bearer(door)).call())
}

fn client(within: Option<Duration>) -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).timeout_global(within).build();
    ureq::Agent::new_with_config(config)
}

fn bearer(door: &Door) -> String {
    format!("Bearer {}", door.token)
}

fn answer(
    door: &Door,
    response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> anyhow::Result<(bool, String)> {
    let mut response = response.with_context(|| format!("the agent does not answer at {}", door.http))?;
    let succeeded = response.status().is_success();
    Ok((succeeded, response.body_mut().read_to_string().unwrap_or_default()))
}
