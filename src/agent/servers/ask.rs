//! One round of questions to one server.
//!
//! First what tells most (its provider, its AdminServer, else `mntr`) and, beside it, `srvr`, which tells the zxid and is
//! allowed by default; then `ruok` and `isro`, where its port answers. Each word is a connection with a timeout of its own.

use std::time::{Duration, Instant};

use super::standing::Standing;
use crate::metrics::servers::{ANSWER_BYTES_MAX, Asked, Sample, Told, UNKNOWN, Word, mntr, monitor, pairs, provider};
use crate::source::http::{self, HttpError};
use crate::source::watch::credentials::Credentials;
use crate::source::watch::srvr;
use crate::source::watch::words::{self, WordError, is_not_serving};
use crate::zk::Zxid;

/// How long a server may take for one answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);

/// Whom to ask, and how.
pub(super) struct Server {
    /// `host:port` of its client port.
    pub address: String,
    pub credentials: Credentials,
    /// URL of its AdminServer's `monitor`.
    pub monitor: Option<String>,
    /// URL of its Prometheus provider.
    pub metrics: Option<String>,
}

/// What came of a round.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub sample: Sample,
    pub zxid: Option<Zxid>,
    /// Of each word that was asked and has no answer: why.
    pub failed: Vec<(Word, WordError)>,
}

/// Asks a server what it has not refused before.
pub(super) async fn round(server: &Server, standing: &mut Standing) -> Round {
    let now = Instant::now();
    let mut round = Round::default();
    let asks_mntr = standing.wants(Word::Mntr, now);
    let asks_srvr = standing.wants(Word::Srvr, now) || !asks_mntr;
    let (most, srvr) = tokio::join!(most(server, asks_mntr), async {
        if asks_srvr { Some(word(server, Word::Srvr).await) } else { None }
    });
    for answer in most {
        round.take(answer);
    }
    if let Some(answer) = srvr {
        round.take(answer);
    }
    // A provider does not tell the state: where srvr is refused mntr may.
    let unasked = !round.sample.asked.contains_key(&Word::Mntr);
    if asks_mntr && unasked && round.sample.up && round.sample.told.state.is_none() && standing.refuses(Word::Srvr) {
        round.take(word(server, Word::Mntr).await);
    }
    // A port that took no connection, or has nothing to say in time, is left alone.
    if round.port_answers() || round.sample.up && standing.refuses(Word::Srvr) {
        let (ruok, isro) = tokio::join!(
            async { if standing.wants(Word::Ruok, now) { Some(word(server, Word::Ruok).await) } else { None } },
            async { if standing.wants(Word::Isro, now) { Some(word(server, Word::Isro).await) } else { None } },
        );
        for answer in ruok.into_iter().chain(isro) {
            round.take(answer);
        }
    }
    standing.heard(&mut round, now);
    // Whoever refuses each word that would tell may well serve.
    let tells = [Word::Srvr, Word::Mntr, Word::Monitor];
    let told = tells.into_iter().any(|word| round.sample.asked.get(&word).is_some_and(|asked| asked.ok));
    if round.sample.up && round.sample.told.state.is_none() && !told && standing.refuses(Word::Srvr) {
        round.sample.told.state = Some(UNKNOWN.to_owned());
    }
    round
}

/// What a server says of its state alone, where no whole round is due; `None` where it does not.
pub(super) async fn state(server: &Server) -> Option<String> {
    match word(server, Word::Srvr).await.said {
        Ok(Said::Text(text)) if !is_not_serving(&text) => srvr::parse(&text).mode,
        _ => None,
    }
}

/// What one way of asking gave.
struct Answer {
    word: Word,
    said: Result<Said, WordError>,
    took: Duration,
}

enum Said {
    Told(Told),
    Text(String),
}

/// The first of the ways that gives an answer, and those before it that do not.
async fn most(server: &Server, asks_mntr: bool) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (way, url) in [(Word::Metrics, &server.metrics), (Word::Monitor, &server.monitor)] {
        let Some(url) = url else { continue };
        answers.push(page(way, url).await);
        if answers.last().is_some_and(|answer| answer.said.is_ok()) {
            return answers;
        }
    }
    if asks_mntr {
        answers.push(word(server, Word::Mntr).await);
    }
    answers
}

async fn page(way: Word, url: &str) -> Answer {
    let began = Instant::now();
    let body = http::get(url, TIMEOUT, ANSWER_BYTES_MAX).await;
    let said = match (body, way) {
        (Ok(body), Word::Monitor) => {
            monitor(&body).map(Said::Told).map_err(|error| WordError::Unreachable(format!("{url}: {error}")))
        }
        (Ok(body), _) => {
            let told = provider(&String::from_utf8_lossy(&body));
            if told.series.is_empty() {
                Err(WordError::Unreachable(format!("{url}: there is no metric in its answer")))
            } else {
                Ok(Said::Told(told))
            }
        }
        (Err(HttpError::TooLate(after_ms)), _) => Err(WordError::TooLate(after_ms)),
        (Err(error), _) => Err(WordError::Unreachable(error.to_string())),
    };
    Answer { word: way, said, took: began.elapsed() }
}

async fn word(server: &Server, word: Word) -> Answer {
    let began = Instant::now();
    let said = words::ask(&server.address, &server.credentials, word.as_str(), TIMEOUT).await.map(Said::Text);
    Answer { word, said, took: began.elapsed() }
}

impl Round {
    fn take(&mut self, answer: Answer) {
        let Answer { word, said, took } = answer;
        self.sample.asked.insert(word, Asked { ok: said.is_ok(), took });
        // Also who refuses a word is there.
        self.sample.up |= matches!(said, Ok(_) | Err(WordError::NotAllowed));
        match (word, &said) {
            (Word::Ruok, Err(WordError::NotAllowed)) => {}
            (Word::Ruok, said) => {
                self.sample.ruok = Some(matches!(said, Ok(Said::Text(text)) if text.trim() == "imok"));
            }
            (Word::Isro, Ok(Said::Text(text))) => {
                self.sample.read_only = match text.trim() {
                    "ro" => Some(true),
                    "rw" => Some(false),
                    _ => None,
                };
            }
            _ => {}
        }
        match (word, said) {
            (_, Ok(Said::Told(told))) => self.sample.told.complete(told),
            (Word::Mntr, Ok(Said::Text(text))) => self.sample.told.complete(mntr(&text)),
            (Word::Srvr, Ok(Said::Text(text))) if !is_not_serving(&text) => {
                let srvr = srvr::parse(&text);
                self.zxid = srvr.zxid;
                self.sample.told.complete(pairs(srvr.pairs()));
            }
            (_, Ok(_)) => {}
            (_, Err(error)) => self.failed.push((word, error)),
        }
    }

    /// Whether its client port said anything.
    fn port_answers(&self) -> bool {
        [Word::Mntr, Word::Srvr].into_iter().any(|word| {
            let refused = |(failed, error): &(Word, WordError)| *failed == word && *error == WordError::NotAllowed;
            self.sample.asked.get(&word).is_some_and(|asked| asked.ok) || self.failed.iter().any(refused)
        })
    }
}

/// What a server allows, for an operator who wants to know.
#[derive(Debug, Default)]
pub struct Survey {
    /// What it said by `srvr`, or why it said nothing.
    pub srvr: Option<srvr::Srvr>,
    pub answers: Vec<&'static str>,
    pub refuses: Vec<&'static str>,
    /// Neither: why.
    pub failed: Vec<(&'static str, String)>,
}

/// Asks a server every word once, and its HTTP doors where they are named.
pub async fn survey(
    address: &str,
    credentials: &Credentials,
    monitor: Option<String>,
    metrics: Option<String>,
) -> Survey {
    let server = Server { address: address.to_owned(), credentials: credentials.clone(), monitor, metrics };
    let words = [Word::Srvr, Word::Mntr, Word::Ruok, Word::Isro].map(|one| word(&server, one));
    let pages = [(Word::Metrics, &server.metrics), (Word::Monitor, &server.monitor)];
    let pages = pages.into_iter().filter_map(|(way, url)| Some(page(way, url.as_deref()?)));
    let (words, pages) =
        tokio::join!(futures::future::join_all(words), futures::future::join_all(pages.collect::<Vec<_>>()));
    let mut survey = Survey::default();
    for Answer { word, said, .. } in words.into_iter().chain(pages) {
        match said {
            Ok(said) => {
                if let (Word::Srvr, Said::Text(text)) = (word, said) {
                    survey.srvr = Some(srvr::parse(&text));
                }
                survey.answers.push(word.as_str());
            }
            Err(WordError::NotAllowed) => survey.refuses.push(word.as_str()),
            Err(error) => survey.failed.push((word.as_str(), error.to_string())),
        }
    }
    survey
}
