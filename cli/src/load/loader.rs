//! Keeps what was read, so that a pass costs what has changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_translate::{Inputs, ObjectRef};

use super::assemble::{Assembled, Assembly, Changes};
use super::files::{self, Stamp};
use super::parse::{Finding, Parsed, parse};
use super::{Place, Problem};
use crate::yaml::documents;

/// Larger files are not configuration.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Reads one folder again and again.
#[derive(Debug)]
pub struct Loader {
    root: PathBuf,
    /// Of the root when it was read last.
    identity: (u64, u64),
    files: BTreeMap<PathBuf, Cached>,
    /// About the folder, not about what stands in its files.
    problems: Vec<Problem>,
    assembly: Assembly,
}

/// A look at the folder.
#[derive(Debug)]
pub struct Look {
    /// Folders in which changes are to be watched for.
    pub folders: BTreeSet<PathBuf>,
    /// None if nothing has changed since the last look.
    pub news: Option<Loaded>,
}

/// The folder as it is now.
#[derive(Debug)]
pub struct Loaded {
    pub inputs: Inputs,
    /// In reading order.
    pub problems: Vec<Problem>,
    /// What differs from the pass before.
    pub changes: Changes,
    /// Where every object stands.
    pub sources: BTreeMap<ObjectRef, (PathBuf, Place)>,
    pub files: usize,
}

#[derive(Debug)]
struct Cached {
    stamp: Stamp,
    settled: bool,
    documents: Vec<Cut>,
    /// About the file as a whole; it then has no documents.
    problem: Option<Problem>,
}

/// One document and what came of it.
#[derive(Debug)]
pub(super) struct Cut {
    text: Box<str>,
    pub(super) above: u32,
    pub(super) parsed: Arc<Parsed>,
}

impl Loader {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            identity: (0, 0),
            files: BTreeMap::new(),
            problems: Vec::new(),
            assembly: Assembly::default(),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads what has changed. Files for which `is_open` holds are being written right now: they count as they were.
    ///
    /// # Errors
    /// When the folder itself cannot be read: it is gone, and nothing that was known is forgotten.
    pub fn load(&mut self, is_open: &dyn Fn(&Path) -> bool) -> io::Result<Look> {
        let tree = files::walk(&self.root)?;
        if tree.files.is_empty() && !self.files.is_empty() && tree.identity != self.identity {
            // An unmounted volume leaves the empty folder that it covered.
            return Err(io::Error::new(io::ErrorKind::NotFound, "another, empty folder stands in its place"));
        }
        let mut changed = self.identity == (0, 0) || tree.problems != self.problems;
        self.identity = tree.identity;
        self.problems = tree.problems;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs().cast_signed());
        let mut before = std::mem::take(&mut self.files);
        for (path, stamp) in tree.files {
            let old = before.remove(&path);
            let cached = match old {
                Some(old) if is_open(&path) || (old.settled && old.stamp == stamp) => old,
                // Cut to nothing a moment ago: about to be written anew. If it stays empty, the next look believes it.
                Some(old) if stamp.size == 0 && !stamp.is_settled(now) => old,
                None if is_open(&path) => continue,
                old => {
                    let Some(new) = Cached::read(&path, stamp, now, old.as_ref()) else {
                        changed |= old.is_some();
                        continue;
                    };
                    changed |= old.is_none_or(|old| !old.says_the_same(&new));
                    new
                }
            };
            self.files.insert(path, cached);
        }
        changed |= !before.is_empty();
        Ok(Look { folders: tree.folders, news: changed.then(|| self.assemble()) })
    }

    fn assemble(&mut self) -> Loaded {
        let mut problems = self.problems.clone();
        problems.extend(self.files.values().filter_map(|file| file.problem.clone()));
        let documents = self.files.iter().flat_map(|(path, file)| {
            file.documents.iter().enumerate().map(move |(index, document)| (path.as_path(), index + 1, document))
        });
        let Assembled { inputs, changes, sources } = self.assembly.assemble(documents, &mut problems);
        problems.sort();
        Loaded { inputs, problems, changes, sources, files: self.files.len() }
    }
}

impl Cached {
    /// None if the file is gone since it was listed.
    fn read(path: &Path, stamp: Stamp, now: i64, old: Option<&Self>) -> Option<Self> {
        match read(path, now) {
            Ok(text) => Some(cut(text, old)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let message = format!("cannot be read: {error}");
                let problem = Problem::about_file(path, message, "check its permissions, size and encoding (UTF-8)");
                Some(Self { stamp, settled: false, documents: Vec::new(), problem: Some(problem) })
            }
        }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        let mut pairs = self.documents.iter().zip(&other.documents);
        self.problem == other.problem
            && self.documents.len() == other.documents.len()
            && pairs.all(|(a, b)| a.above == b.above && a.text == b.text)
    }
}

struct Text {
    text: String,
    stamp: Stamp,
    settled: bool,
}

fn read(path: &Path, now: i64) -> io::Result<Text> {
    let mut file = File::open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    if stamp.size > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("larger than {} MiB", MAX_FILE_BYTES / 1024 / 1024)));
    }
    let mut bytes = Vec::with_capacity(stamp.size as usize);
    file.by_ref().take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    let still = Stamp::of(&fs::metadata(path)?);
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        io::Error::other(format!("line {} is not UTF-8", line + 1))
    })?;
    Ok(Text { text, stamp, settled: still == stamp && stamp.is_settled(now) })
}

/// Documents whose text is known keep what came of it.
fn cut(Text { text, stamp, settled }: Text, old: Option<&Cached>) -> Cached {
    let known: HashMap<&str, &Arc<Parsed>> =
        old.into_iter().flat_map(|old| &old.documents).map(|document| (&*document.text, &document.parsed)).collect();
    let documents = documents(&text)
        .into_iter()
        .map(|document| Cut {
            text: document.text.into(),
            above: document.above,
            parsed: known
                .get(document.text)
                .map_or_else(|| Arc::new(parse(document.text)), |parsed| Arc::clone(parsed)),
        })
        .collect();
    Cached { stamp, settled, documents, problem: None }
}

impl Finding {
    /// Gives a finding its place among the files.
    pub(super) fn within(&self, file: &Path, document: usize, above: u32) -> Problem {
        let Self { severity, object, at, field, message, fix } = self;
        Problem {
            file: file.to_owned(),
            at: at.below(above).into(),
            severity: *severity,
            document,
            object: object.clone(),
            field: field.clone(),
            message: message.clone(),
            fix: fix.clone(),
        }
    }
}
