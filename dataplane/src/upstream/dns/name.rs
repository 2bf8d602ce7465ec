//! One host name, its last good answer, and the task that asks again.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use portcullis_ir as ir;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::set::NamedSet;
use super::{FIRST_RETRY, LONGEST_RETRY, Questions};

#[derive(Debug)]
pub(super) struct Name {
    known: Mutex<Known>,
    task: OnceLock<AbortHandle>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Arc<[IpAddr]>,
    /// There was an answer, good or bad.
    answered: bool,
    followers: Vec<Weak<NamedSet>>,
}

impl Name {
    pub(super) fn follow(host: ir::Host, runtime: &Handle, questions: Arc<Questions>) -> Arc<Self> {
        let name = Arc::new(Self { known: Mutex::default(), task: OnceLock::new() });
        let task = runtime.spawn(keep_asking(host, Arc::downgrade(&name), questions));
        // Set once, right here.
        let _ = name.task.set(task.abort_handle());
        name
    }

    pub(super) fn add_follower(&self, set: Weak<NamedSet>) {
        let mut known = self.known();
        known.followers.retain(|follower| follower.strong_count() > 0);
        known.followers.push(set);
    }

    /// The last good answer, and whether there was any.
    pub(super) fn addresses(&self) -> (Arc<[IpAddr]>, bool) {
        let known = self.known();
        (Arc::clone(&known.addresses), known.answered)
    }

    /// None: it did not resolve this time; what was last good stays.
    fn answer(&self, addresses: Option<Vec<IpAddr>>) {
        let followers = {
            let mut known = self.known();
            let news = addresses.filter(|addresses| **addresses != *known.addresses);
            if known.answered && news.is_none() {
                return;
            }
            known.answered = true;
            if let Some(news) = news {
                known.addresses = news.into();
            }
            known.followers.clone()
        };
        for follower in followers.iter().filter_map(Weak::upgrade) {
            follower.rebuild();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

async fn keep_asking(host: ir::Host, name: Weak<Name>, questions: Arc<Questions>) {
    let mut failures: u32 = 0;
    loop {
        let answer = questions.ask(&host).await;
        let wait = match &answer {
            Some(answer) => {
                if failures > 0 {
                    tracing::info!(name = host.as_str(), "the name resolves again");
                }
                failures = 0;
                answer.good_for
            }
            None => {
                if failures == 0 {
                    tracing::warn!(
                        name = host.as_str(),
                        "a backend's name does not resolve; what it last resolved to stays in use: check the name"
                    );
                }
                let wait = FIRST_RETRY.saturating_mul(1 << failures.min(8)).min(LONGEST_RETRY);
                failures = failures.saturating_add(1);
                wait
            }
        };
        match name.upgrade() {
            Some(name) => name.answer(answer.map(|answer| answer.addresses)),
            None => return,
        }
        sleep(wait).await;
    }
}
