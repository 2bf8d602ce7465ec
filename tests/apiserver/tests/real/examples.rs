//! Every example that a user can copy is taken by a real API server: files below docs/examples, and fenced blocks of YAML
//! in README.md and the pages.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_apiserver::{ApiServer, Bundle, CrdSet, apply_document, documents};

use crate::SERVER;

/// YAML of one place.
#[derive(Debug)]
struct Example {
    /// From the root of the checkout.
    file: String,
    /// Where the text begins.
    line: usize,
    text: String,
}

impl Example {
    /// Whether the definitions have all its fields. An example with some that the standard channel lacks says so, and
    /// which release has them if not both do.
    fn is_for(&self, channel: Channel) -> bool {
        let asked = self.text.lines().find_map(|line| line.strip_prefix("# channel: experimental"));
        match (asked.map(str::trim), channel) {
            (None, _) => true,
            (Some(_), Channel::Standard) => false,
            (Some(""), Channel::Experimental(_)) => true,
            (Some(release), Channel::Experimental(bundle)) => bundle.version().starts_with(&format!("v{release}.")),
        }
    }
}

#[tokio::test]
async fn every_example_of_the_documentation_is_applied() {
    apply_all(&SERVER, Channel::Standard).await;
}

#[tokio::test]
async fn every_example_is_taken_by_the_newest_gateway_api_too() {
    let server = ApiServer::start_with(&[CrdSet::Standard(Bundle::V1_7_0), CrdSet::Portcullis]);
    apply_all(&server, Channel::Standard).await;
}

#[tokio::test]
async fn every_example_of_the_experimental_channel_is_applied() {
    for bundle in [Bundle::V1_6_3, Bundle::V1_7_0] {
        let server = ApiServer::start_with(&[CrdSet::Experimental(bundle), CrdSet::Portcullis]);
        apply_all(&server, Channel::Experimental(bundle)).await;
    }
}

/// Which definitions an example asks for. The experimental ones hold all of the standard ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    Standard,
    Experimental(Bundle),
}

async fn apply_all(server: &ApiServer, channel: Channel) {
    let client = server.client();
    let mut complaints = Vec::new();
    let mut count = 0;
    for example in examples().iter().filter(|example| example.is_for(channel)) {
        for document in documents(&example.text) {
            count += 1;
            if let Err(error) = apply_document(&client, &namespace(&example.file), &document.text).await {
                complaints.push(format!("{}:{}: {error}", example.file, example.line + document.line - 1));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    assert!(
        count >= 15,
        "only {count} objects found: are docs/examples and README.md still where they are looked for?"
    );
}

#[test]
fn blocks_are_found_with_their_lines() {
    let page =
        "# Title\n\n```yaml\na: 1\n---\nb: 2\n```\n\n```sh\nx: y\n```\n- item\n  ```yaml\n  c:\n    d: 3\n  ```\n";
    let found: Vec<(usize, String)> = blocks(page).into_iter().collect();
    assert_eq!(found, [(4, "a: 1\n---\nb: 2\n".to_owned()), (14, "c:\n  d: 3\n".to_owned())]);
}

/// Examples of one folder belong together; those of two must not meet.
fn namespace(file: &str) -> String {
    let folder = Path::new(file).parent().unwrap().to_string_lossy().replace('/', "-");
    let name = if file.ends_with(".md") { file.replace(['/', '.'], "-") } else { folder };
    name.to_lowercase().trim_matches('-').to_owned()
}

fn examples() -> Vec<Example> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files.iter().flat_map(|path| examples_of(&root, path)).collect()
}

fn examples_of(root: &Path, path: &PathBuf) -> Vec<Example> {
    let file = path.strip_prefix(root).unwrap().display().to_string();
    let text = || fs::read_to_string(path).unwrap();
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("md") => {
            blocks(&text()).into_iter().map(|(line, text)| Example { file: file.clone(), line, text }).collect()
        }
        Some("yaml" | "yml" | "json") if file.starts_with("docs/examples/") => {
            vec![Example { file, line: 1, text: text() }]
        }
        _ => Vec::new(),
    }
}

/// Fenced blocks of YAML: the line after the fence, and the text without the fence's indentation.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut inside: Option<(usize, usize, String)> = None;
    for (index, line) in page.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match &mut inside {
            None if line.trim_start().starts_with("```yaml") => inside = Some((index + 2, indent, String::new())),
            None => {}
            Some(_) if line.trim() == "```" => {
                let (line, _, text) = inside.take().unwrap();
                found.push((line, text));
            }
            Some((_, fence, text)) => {
                text.push_str(&line[indent.min(*fence)..]);
                text.push('\n');
            }
        }
    }
    found
}
