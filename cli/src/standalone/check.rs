//! One pass without serving: what is wrong, and what the statuses would be.

use std::io;
use std::path::Path;

use portcullis_translate::Timestamp;

use super::{Pass, Pipeline, Report};

/// What a folder comes to.
#[derive(Debug)]
pub struct Verdict {
    pub pass: Pass,
    pub report: Report,
}

/// # Errors
/// When the folder cannot be read at all.
pub fn check(root: &Path, now: Timestamp) -> io::Result<Verdict> {
    let mut pipeline = Pipeline::new(root);
    let look = pipeline.load(&|_| false)?;
    // The first look is always news.
    let loaded = look.news.ok_or_else(|| io::Error::other("nothing was read"))?;
    let pass = pipeline.translate(loaded, now);
    let report = pipeline.report();
    Ok(Verdict { pass, report })
}

impl Verdict {
    pub fn errors(&self) -> usize {
        self.pass.problems.iter().filter(|problem| problem.is_error()).count()
    }

    /// `12 objects in 3 files: 1 error, 0 warnings`
    pub fn summary(&self) -> String {
        let count =
            |number: usize, what: &str| if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") };
        let errors = self.errors();
        let warnings = self.pass.problems.len() - errors;
        format!(
            "{} in {}: {}, {}",
            count(self.pass.objects, "object"),
            count(self.pass.files, "file"),
            count(errors, "error"),
            count(warnings, "warning")
        )
    }
}
