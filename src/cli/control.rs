//! Asks the running agent to do something: over its HTTP door, with the token that only the history's owner can read.

use std::path::Path;

use anyhow::{Context, bail};

use crate::agent::control::{Door, read_door};

/// Where the agent of this folder answers, if one is running.
pub(super) fn door(data_dir: &Path) -> anyhow::Result<Option<Door>> {
    read_door(data_dir).with_context(|| format!("cannot read the agent's token in {}", data_dir.display()))
}

/// Posts to the agent and gives its answer, or its refusal as an error.
pub(super) fn post(door: &Door, path: &str) -> anyhow::Result<String> {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
    let agent = ureq::Agent::new_with_config(config);
    let url = format!("http://{}{path}", door.http);
    let mut response = agent
        .post(&url)
        .header("Authorization", &format!("Bearer {}", door.token))
        .send_empty()
        .with_context(|| format!("the agent does not answer at {}", door.http))?;
    let status = response.status();
    let body = response.body_mut().read_to_string().unwrap_or_default();
    if !status.is_success() {
        let parsed: Option<serde_json::Value> = serde_json::from_str(&body).ok();
        let cause = parsed.as_ref().and_then(|body| body.get("error")).and_then(|error| error.as_str());
        bail!("{}", cause.unwrap_or(body.trim()));
    }
    Ok(body)
}
