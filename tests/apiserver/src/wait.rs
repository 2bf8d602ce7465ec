//! Waiting for what must come.

use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine: it bounds a failure, not a success.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until the answer is `Ok`.
///
/// # Panics
/// After a minute, with what is awaited and the last answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(still) => assert!(Instant::now() < deadline, "{what}: still {still}"),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
