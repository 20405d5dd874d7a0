use crate::cli::sql::door::{Door, Refused};
use crate::query::encode::JsonEncoder;
use crate::query::feed::{Ask, ReadError, Row};

impl Ask for Door {
    fn ask(&self, sql: &str) -> Result<Vec<Row>, ReadError> {
        rows(self, sql).map_err(|error| {
            // 503 is an agent that is busy, or about to stop; what breaks off is one that was stopped.
            let away = match error.downcast_ref::<Refused>() {
                Some(refused) => refused.status == 503,
                None => error.is::<ureq::Error>() || error.is::<std::io::Error>(),
            };
            let told = format!("{error:#}");
            if self.is_agent() && away { ReadError::Away(told) } else { ReadError::Failed(told) }
        })
    }

    fn describe(&self) -> String {
        Self::describe(self)
    }
}

fn rows(door: &Door, sql: &str) -> anyhow::Result<Vec<Row>> {
    let mut answer = door.ask_with(sql, &Default::default())?;
    let mut encoder = JsonEncoder::new(&answer.schema());
    let mut text = Vec::new();
    for batch in &mut answer {
        encoder.batch(&batch?, &mut text);
    }
    encoder.finish(&mut text);
    Ok(serde_json::from_slice(&text)?)
}
