//! htpasswd files: a user and a password's hash per line. A line that cannot be read denies its user alone.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use portcullis_expressions::Identity;

use crate::SlowCheck;
use crate::encoding::sha256;
use crate::password::PasswordHash;

/// Most users; lines behind them are not read.
const MAX_USERS: usize = 100_000;

pub struct Users {
    /// Of the file's content: a password that one has verified is not verified by another.
    id: [u8; 32],
    /// None: the line cannot be read, or the name occurs twice.
    by_name: HashMap<Box<str>, Option<PasswordHash>, RandomState>,
    /// What names that are not there are tried with, so that they take as long as others.
    decoy: Option<PasswordHash>,
    /// Lines that cannot be read, from 1.
    unreadable: Vec<usize>,
}

impl Users {
    pub fn parse(content: &[u8]) -> Self {
        let mut by_name: HashMap<Box<str>, Option<PasswordHash>, RandomState> = HashMap::default();
        let mut unreadable = Vec::new();
        let mut decoy = None;
        for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if by_name.len() >= MAX_USERS {
                break;
            }
            let parts = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':'));
            let Some((name, hash)) = parts.filter(|(name, _)| !name.is_empty()) else {
                unreadable.push(index + 1);
                continue;
            };
            let hash = PasswordHash::parse(hash);
            if hash.is_none() {
                unreadable.push(index + 1);
            }
            // The slowest kind that there is.
            if hash.as_ref().is_some_and(PasswordHash::is_slow) || decoy.is_none() {
                decoy = decoy.filter(PasswordHash::is_slow).or_else(|| hash.clone());
            }
            let known = by_name.contains_key(name);
            if known {
                unreadable.push(index + 1);
            }
            by_name.insert(name.into(), if known { None } else { hash });
        }
        Self { id: sha256(&[content]), by_name, decoy, unreadable }
    }

    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    pub fn unreadable(&self) -> &[usize] {
        &self.unreadable
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// What there is to do to know whether the password is the user's, and whether that is slow.
    pub fn check(&self, method: &str, name: &str, password: &[u8]) -> (SlowCheck, bool) {
        let known = self.by_name.get(name).and_then(Option::as_ref);
        let identity = known.map(|_| {
            Arc::new(Identity {
                method: method.into(),
                subject: Some(name.into()),
                username: Some(name.into()),
                ..Identity::default()
            })
        });
        let hash = known.or(self.decoy.as_ref());
        let slow = hash.is_some_and(PasswordHash::is_slow);
        (SlowCheck::new(password, hash.cloned().map(|hash| (hash, identity)).into_iter().collect()), slow)
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({}, {} lines unreadable)", self.by_name.len(), self.unreadable.len())
    }
}
