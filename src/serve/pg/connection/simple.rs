//! The simple protocol: a text of statements, one after another.

use std::time::Instant;

use pgwire::messages::PgWireBackendMessage as Out;
use pgwire::messages::response::EmptyQueryResponse;

use super::super::command::{self, Command, Piece};
use super::super::error::PgError;
use super::{Connection, Done, check_length};

impl Connection {
    pub(super) async fn simple(&mut self, sql: &str) -> Done<()> {
        let pieces = match check_length(sql).and_then(|()| command::pieces(sql)) {
            Ok(pieces) => pieces,
            Err(error) => {
                let refused = Err(error.into());
                self.log(sql, &refused, 0, Instant::now());
                return refused;
            }
        };
        if pieces.is_empty() {
            self.put(Out::EmptyQueryResponse(EmptyQueryResponse::new()))?;
        }
        for piece in pieces {
            let begun = Instant::now();
            self.entered.backend.begin(&piece.text);
            let mut rows = 0;
            let done = self.simple_piece(&piece, &mut rows).await;
            self.log(&piece.text, &done, rows, begun);
            done?;
        }
        Ok(())
    }

    pub(super) async fn simple_piece(&mut self, piece: &Piece, sent: &mut u64) -> Done<()> {
        let prepared = self.prepare(Some(piece.clone()), &[]).await?;
        if prepared.question.as_ref().is_some_and(|question| !question.parameters.is_empty()) {
            return Err(PgError::new("42P02", "there is no parameter $1")
                .hint("A simple query has no parameters.")
                .into());
        }
        match &prepared.command {
            Command::Copy(copy) => self.copy(copy, &prepared, sent).await,
            Command::Fetch { cursor, count, moves } => {
                let (cursor, count, moves) = (cursor.clone(), *count, *moves);
                self.fetch(&cursor, count, moves, true, None, sent).await.map(|_| ())
            }
            Command::Question | Command::Show(_) | Command::ShowAll => {
                let mut rows = self.begin_rows(&prepared, Vec::new()).await?;
                let fields = self.fields(rows.schema(), &[])?;
                self.describe(&fields)?;
                self.send(&mut rows, &fields, None, sent).await?;
                let tag = format!("{} {sent}", piece.tag());
                self.complete(if piece.tag() == "SELECT" { &tag } else { piece.tag() })
            }
            _ => {
                let tag = self.perform(&prepared).await?;
                self.complete(tag)
            }
        }
    }
}
