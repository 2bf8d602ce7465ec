//! All stores, and all books of rules that are counted in them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use portcullis_ir::{Store, StoreKey, Table};
use portcullis_limits::{Counters, RuleId};

use super::book::Book;
use super::link::Link;

/// How often what is unused is looked for.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct Stores {
    links: Mutex<HashMap<StoreKey, Arc<Link>>>,
    books: Mutex<HashMap<RuleId, (StoreKey, Weak<Book>)>>,
    control: OnceLock<tokio::runtime::Handle>,
    since: Instant,
    nonce: u64,
}

impl Stores {
    pub(crate) fn new(nonce: u64) -> Arc<Self> {
        Arc::new(Self {
            links: Mutex::default(),
            books: Mutex::default(),
            control: OnceLock::new(),
            since: Instant::now(),
            nonce,
        })
    }

    /// Everything that waits for a network happens there.
    pub(crate) fn run_on(self: &Arc<Self>, control: &tokio::runtime::Handle) {
        let stores = Arc::downgrade(self);
        if self.control.set(control.clone()).is_ok() {
            control.spawn(async move {
                loop {
                    tokio::time::sleep(LOOK).await;
                    let Some(stores) = stores.upgrade() else { return };
                    stores.give_back(false).await;
                }
            });
        }
    }

    pub(crate) fn control(&self) -> Option<&tokio::runtime::Handle> {
        self.control.get()
    }

    /// The stores that there are now. Links of the others end once nobody uses them.
    pub(crate) fn follow(&self, stores: &Table<StoreKey, Store>) {
        let Some(control) = self.control.get() else { return };
        let mut links = lock(&self.links);
        links.retain(|key, link| {
            let store = stores.get(key);
            match store {
                Some(store) => link.follow(store),
                None => link.follow(&Store { key: key.clone(), replicas: 1, connection: None }),
            }
            store.is_some() || Arc::strong_count(link) > 1
        });
        for (key, store) in stores {
            links.entry(key.clone()).or_insert_with(|| Link::start(store, self.nonce, control));
        }
    }

    /// The way to a store; one that leads nowhere if there is no such store yet.
    pub(crate) fn link(&self, key: &StoreKey) -> Option<Arc<Link>> {
        let control = self.control.get()?;
        let unknown = || Link::start(&Store { key: key.clone(), replicas: 1, connection: None }, self.nonce, control);
        Some(Arc::clone(lock(&self.links).entry(key.clone()).or_insert_with(unknown)))
    }

    /// What is held of a rule's keys.
    pub(crate) fn book(&self, counters: &Arc<Counters>, store: &StoreKey) -> Arc<Book> {
        let mut books = lock(&self.books);
        books.retain(|_, (_, book)| book.strong_count() > 0);
        if let Some(book) = books.get(&counters.id).and_then(|(_, book)| book.upgrade()) {
            return book;
        }
        let book = Arc::new(Book::new(Arc::clone(counters), self.since));
        books.insert(counters.id.clone(), (store.clone(), Arc::downgrade(&book)));
        book
    }

    /// Gives back units that are not used; all of them, at the end.
    pub(crate) async fn give_back(&self, all: bool) {
        let books: Vec<_> = lock(&self.books).values().cloned().collect();
        for (store, book) in books {
            if let (Some(book), Some(link)) = (book.upgrade(), self.known(&store)) {
                book.give_back(&link, all).await;
            }
        }
    }

    fn known(&self, store: &StoreKey) -> Option<Arc<Link>> {
        lock(&self.links).get(store).cloned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
