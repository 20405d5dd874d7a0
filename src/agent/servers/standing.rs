//! What one server has refused and whether it answers, so that little is asked in vain and the log hears of news alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::ask::Round;
use crate::metrics::servers::{Asked, Word};
use crate::source::watch::words::{WHITELIST, WordError};

/// A word that was refused is asked again this late: whitelists change with a restart at most.
const REFUSED_AGAIN: Duration = Duration::from_secs(300);

/// A server that does not know a word closes the connection; so does one that has too many, for once.
const SILENT_MEANS_REFUSED: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Standing {
    /// When, and with which outcome.
    refused: BTreeMap<Word, (Instant, Asked)>,
    /// How often in a row a word had no answer from a server that gave others.
    silent: BTreeMap<Word, u32>,
    /// `None` before it was asked.
    is_up: Option<bool>,
    /// What the log was told.
    told_refused: Vec<Word>,
    told_failed: Vec<Word>,
}

impl Standing {
    /// Whether a word is worth a connection.
    pub(super) fn wants(&self, word: Word, now: Instant) -> bool {
        self.refused.get(&word).is_none_or(|(at, _)| now.saturating_duration_since(*at) >= REFUSED_AGAIN)
    }

    /// Whether a word was refused when it was last asked.
    pub(super) fn refuses(&self, word: Word) -> bool {
        self.refused.contains_key(&word)
    }

    /// Learns from a round, and adds to it what is known of words that were not asked.
    pub(super) fn heard(&mut self, round: &mut Round, now: Instant) {
        let sample = &mut round.sample;
        if !sample.up {
            // Whoever comes back may allow more.
            self.refused.clear();
            self.silent.clear();
            return;
        }
        for (word, error) in &round.failed {
            let is_refusal = match error {
                WordError::NotAllowed => true,
                WordError::Silent(_) if matches!(word, Word::Mntr | Word::Isro) => {
                    let times = self.silent.entry(*word).or_default();
                    *times = times.saturating_add(1);
                    *times >= SILENT_MEANS_REFUSED
                }
                _ => false,
            };
            if let (true, Some(asked)) = (is_refusal, sample.asked.get(word)) {
                self.refused.insert(*word, (now, *asked));
            }
        }
        self.silent.retain(|word, _| !sample.asked.get(word).is_some_and(|asked| asked.ok));
        self.refused.retain(|word, _| !sample.asked.get(word).is_some_and(|asked| asked.ok));
        for (word, (_, asked)) in &self.refused {
            sample.asked.entry(*word).or_insert(*asked);
        }
    }

    /// Tells the log what is new.
    pub(super) fn tell(&mut self, cluster: &str, server: &str, round: &Round) {
        let is_up = round.sample.up;
        let was_up = self.is_up.replace(is_up);
        match (was_up, is_up) {
            (Some(true) | None, false) => {
                tracing::warn!(cluster, server, "does not answer: {}", causes(&round.failed, Word::ALL));
            }
            (Some(false), true) => tracing::info!(cluster, server, "answers again"),
            _ => {}
        }
        if !is_up {
            return;
        }
        let refused: Vec<Word> = self.refused.keys().copied().collect();
        if refused.iter().any(|word| !self.told_refused.contains(word)) {
            let words = refused.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", ");
            tracing::info!(
                cluster,
                server,
                "does not answer {words}: {WHITELIST} in its zoo.cfg, with what else it may have, gives more metrics"
            );
        }
        self.told_refused = refused;
        let failed = [Word::Metrics, Word::Monitor]
            .into_iter()
            .filter(|word| round.failed.iter().any(|(failed, _)| failed == word));
        let failed: Vec<Word> = failed.collect();
        if failed.iter().any(|word| !self.told_failed.contains(word)) {
            tracing::warn!(
                cluster,
                server,
                "its metrics come by four-letter words: {}",
                causes(&round.failed, &failed)
            );
        }
        self.told_failed = failed;
    }
}

/// Why these words have no answer; the same cause once.
fn causes(failed: &[(Word, WordError)], words: &[Word]) -> String {
    let mut causes: Vec<(String, Vec<&str>)> = Vec::new();
    for (word, error) in failed.iter().filter(|(word, _)| words.contains(word)) {
        let cause = error.to_string();
        match causes.iter_mut().find(|(other, _)| *other == cause) {
            Some((_, words)) => words.push(word.as_str()),
            None => causes.push((cause, vec![word.as_str()])),
        }
    }
    match causes.as_slice() {
        [(cause, _)] => cause.clone(),
        causes => {
            let each = causes.iter().map(|(cause, words)| format!("{}: {cause}", words.join(", ")));
            each.collect::<Vec<_>>().join("; ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(up: bool, asked: &[(Word, Option<WordError>)]) -> Round {
        let mut round = Round::default();
        round.sample.up = up;
        for (word, error) in asked {
            let took = Duration::from_millis(1);
            round.sample.asked.insert(*word, Asked { ok: error.is_none(), took });
            round.failed.extend(error.clone().map(|error| (*word, error)));
        }
        round
    }

    #[test]
    fn what_is_refused_is_asked_rarely() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        let mut first = round(true, &[(Word::Srvr, None), (Word::Mntr, Some(WordError::NotAllowed))]);
        standing.heard(&mut first, now);
        assert!(standing.wants(Word::Srvr, now) && !standing.wants(Word::Mntr, now));
        let mut second = round(true, &[(Word::Srvr, None)]);
        standing.heard(&mut second, now + Duration::from_secs(10));
        assert!(second.sample.asked.get(&Word::Mntr).is_some_and(|asked| !asked.ok), "it stays refused");
        assert!(standing.wants(Word::Mntr, now + REFUSED_AGAIN));
        let mut allowed = round(true, &[(Word::Mntr, None)]);
        standing.heard(&mut allowed, now + REFUSED_AGAIN);
        assert!(standing.wants(Word::Mntr, now + REFUSED_AGAIN));
    }

    #[test]
    fn one_cause_is_told_once() {
        let failed = |words: &[(Word, WordError)]| causes(words, Word::ALL);
        let late = || WordError::TooLate(3_000);
        assert_eq!(failed(&[(Word::Mntr, late()), (Word::Srvr, late())]), "no answer within 3000 ms");
        let other = WordError::Unreachable("gone".to_owned());
        let all = [(Word::Metrics, other), (Word::Mntr, late()), (Word::Srvr, late())];
        assert_eq!(failed(&all), "metrics: gone; mntr, srvr: no answer within 3000 ms");
    }

    #[test]
    fn who_comes_back_may_allow_more() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        let silent = || round(true, &[(Word::Srvr, None), (Word::Isro, Some(WordError::Silent(String::new())))]);
        for _ in 1..SILENT_MEANS_REFUSED {
            standing.heard(&mut silent(), now);
            assert!(standing.wants(Word::Isro, now), "once is nothing");
        }
        standing.heard(&mut silent(), now);
        assert!(!standing.wants(Word::Isro, now));
        standing.heard(&mut round(false, &[(Word::Srvr, Some(WordError::TooLate(1)))]), now);
        assert!(standing.wants(Word::Isro, now));
    }
}
