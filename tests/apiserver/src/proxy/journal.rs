//! What was asked.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;

use super::Call;

const PATIENCE: Duration = Duration::from_secs(60);

/// A place in the journal.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

impl Mark {
    /// Before the first call.
    pub const fn start() -> Self {
        Self(0)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    calls: Mutex<Vec<Call>>,
    news: Notify,
}

impl Journal {
    /// Writes a call down; its answer is added under the number that this returns.
    pub(crate) fn ask(&self, call: &Call) -> usize {
        let mut calls = self.calls.lock().unwrap();
        calls.push(call.clone());
        calls.len() - 1
    }

    pub(crate) fn answer(&self, number: usize, status: u16) {
        self.calls.lock().unwrap()[number].answer = Some(status);
        self.news.notify_waiters();
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark(self.calls.lock().unwrap().len())
    }

    pub(crate) fn since(&self, mark: Mark) -> Vec<Call> {
        self.calls.lock().unwrap()[mark.0..].to_vec()
    }

    pub(crate) async fn saw(&self, mark: Mark, times: usize, which: impl Fn(&Call) -> bool) {
        let enough = async {
            loop {
                // Listening begins before looking, or an answer between the two would go unnoticed.
                let news = self.news.notified();
                let calls = self.since(mark);
                if calls.iter().filter(|call| call.answer.is_some() && which(call)).count() >= times {
                    return;
                }
                news.await;
            }
        };
        if tokio::time::timeout(PATIENCE, enough).await.is_err() {
            let calls = self.since(mark);
            let asked: Vec<String> =
                calls.iter().map(|call| format!("{:?} {} {:?}", call.verb, call.path, call.answer)).collect();
            panic!("not {times} such calls, but:\n{}", asked.join("\n"));
        }
    }
}
